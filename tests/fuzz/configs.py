"""Target `config`: any bytes as agent.toml are a Config, or a ConfigError that names places."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from agent.cli import toml
from agent.config import Config, load, resolved
from agent.config.plugins import KINDS
from agent.config.settings import Agent, Log, Spool, Status
from agent.errors import ConfigError
from agent.events.rule import Rule
from agent.schema import key_of, options_of

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-config-")
_FILE = Path(_FOLDER.name) / "agent.toml"
ENVIRONMENT = {"HOME": "/root", "EMPTY": "", "WORD": "word", "LONG": "x" * 5000, "NUL": "a\0b", "LINES": "a\r\nb"}

# Tables that are right, each with what its kind requires; other options are put into them.
TABLES: Mapping[str, tuple[type, Mapping[str, str]]] = {
    "agent": (Agent, {"hostname": '"edge"'}),
    "spool": (Spool, {"directory": '"state"'}),
    "log": (Log, {}),
    "status": (Status, {}),
    "collectors.plant": (
        KINDS["collectors"].find("mqtt") or object,
        {"type": '"mqtt"', "url": '"mqtt://127.0.0.1"', "subscription": '[{ topic = "a/{b}/#" }]'},
    ),
    "collectors.host": (KINDS["collectors"].find("host") or object, {"type": '"host"'}),
    "sinks.lake": (
        KINDS["sinks"].find("obsrv") or object,
        {"type": '"obsrv"', "url": '"http://127.0.0.1:1"', "dataset": '"d"'},
    ),
    "sinks.insight": (
        KINDS["sinks"].find("cloud_insight") or object,
        {
            "type": '"cloud_insight"',
            "access_key": '"AAAA"',
            "secret_key": '"BBBB"',
            "schema": '[{ cw_key = "1", metrics = { v = "v" } }]',
        },
    ),
    "sinks.notes": (
        KINDS["sinks"].find("rackspace") or object,
        {"type": '"rackspace"', "tenant": '"1"', "url": '"http://127.0.0.1:1"'},
    ),
    "sinks.disk": (KINDS["sinks"].find("file") or object, {"type": '"file"', "path": '"out.ndjson"'}),
    "sinks.screen": (KINDS["sinks"].find("stdout") or object, {"type": '"stdout"'}),
}
_RULE = {"name": '"hot"', "when": '"host.cpu.usage > 90"'}

_ODD_VALUES = (
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "true",
    "1" + "0" * 400,
    "1" * 5000,
    "0x" + "f" * 400,
    "1979-05-27T07:32:00Z",
    "[]",
    "{}",
    "[[]]",
    "[" * 90 + "]" * 90,
    "[" * 2000 + "]" * 2000,
    '[{ a = 1 }, "b"]',
    '{ a = { b = "c" } }',
    '"0s"',
    '"1ms"',
    '"' + "9" * 400 + 's"',
    '"' + "9" * 5000 + 's"',
    '"0.' + "1" * 5000 + 'd"',
    '"9e9TiB"',
    '"' + "9" * 400 + 'TiB"',
    '""',
    '" "',
    '"*"',
    '"["',
    '"a\\u0000b"',
    '"\\u001b[31m"',
    '"${WORD}"',
    '"${NUL}"',
    '"${LINES}"',
    '"${EMPTY:-x}"',
    '"${MISSING}"',
    '"${"',
    '"$${WORD}"',
    '"${LONG}"',
    '"credential:x"',
    '"credential:../x"',
    '"credential:a\\u0000"',
    '"file:/"',
    '"file:a\\u0000"',
    '"env:"',
    '"env:NUL"',
    '"/"',
    '"/dev/null"',
    '"."',
    '"%"',
    '"%Q%"',
    '"mqtt://["',
    '"http://[::1"',
    '"http://a:99999"',
    '"http://a b/"',
    '"http://u:p@h/"',
    '"//"',
    '"{host} {"',
    '"{tags.}"',
    '"a.b > 1e999"',
    '"host.*.x == \\"y"',
    '"Asia/Nowhere"',
    '"../../etc/passwd"',
)


def config(data: bytes) -> None:
    """Read the bytes as a configuration."""
    _FILE.write_bytes(data)
    try:
        found = load([_FILE], ENVIRONMENT)
    except ConfigError as error:
        _names_places(error)
        return
    _is_sound(found)


def _names_places(error: ConfigError) -> None:
    assert error.problems, "refused without a reason"
    for problem in error.problems:
        assert str(_FILE) in problem.where, f"no place: {problem}"
        assert problem.text
        assert len(str(problem)) < 20_000, f"a message of {len(str(problem))} characters"


def _is_sound(found: Config) -> None:
    assert found.agent.hostname
    assert found.sinks
    assert found.config_hash
    printed = "\n".join(toml.tables(resolved(found)))
    tomllib.loads(printed)  # what `check --print` shows is TOML


def _text() -> st.SearchStrategy[str]:
    return st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False))


_VALUES = st.one_of(st.sampled_from(_ODD_VALUES), _text(), st.integers().map(str), st.floats().map(repr))


def _keys(cls: type) -> list[str]:
    return [key_of(each) for each, _ in options_of(cls)]


@st.composite
def written(draw: Any) -> bytes:
    """A configuration that is right but for a few values, keys and names of tables."""
    names = ["collectors.host", "sinks.screen", *draw(st.lists(st.sampled_from(list(TABLES)), max_size=4))]
    lines: list[str] = []
    for name in dict.fromkeys(names):
        cls, required = TABLES[name]
        values = dict(required)
        for key in draw(st.lists(st.sampled_from([*_keys(cls), *required, "type", "x", "token_file"]), max_size=2)):
            values[key] = draw(_VALUES)
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
    if draw(st.booleans()):
        rule = {**_RULE, draw(st.sampled_from(_keys(Rule))): draw(_VALUES)}
        lines += ["[[events]]", *(f"{key} = {value}" for key, value in rule.items())]
    if draw(st.integers(0, 9)) == 0:
        lines.insert(0, f"{draw(st.sampled_from(['sinks', 'agent', 'events', 'x', 'a.b']))} = {draw(_VALUES)}")
    return "\n".join(lines).encode()


def seeds() -> list[bytes]:
    """Configurations that are right: one of every table, and the example that comes with the agent."""
    example = Path(__file__).parents[2] / "agent.toml.example"
    every = "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in required.items())])
        for name, (_, required) in TABLES.items()
    )
    rule = "\n".join(["[[events]]", *(f"{key} = {value}" for key, value in _RULE.items())])
    return [example.read_bytes(), f"{every}\n{rule}\n".encode()]
