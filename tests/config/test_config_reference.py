"""The example and the documentation hold every option there is, and nothing that is not so."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.declared import COMMON, OWN, Option, options, plugin_classes, shared
from agent.cli.example import MINIMAL, example
from agent.cli.page import MARK, page
from agent.cli.reference import EXAMPLE, PAGE
from agent.config import load
from agent.config.plugins import KINDS

AGAIN = "run: python -m agent.cli.reference"


def every_option(cls: type) -> Iterator[Option]:
    for option in options(cls):
        yield option
        if option.tables is not None:
            yield from every_option(option.tables[0])


def plugins() -> list[type]:
    return [cls for role in KINDS for cls in plugin_classes(role).values()]


# Options of one table that exclude each other cannot all be taken in at once.
AT_ODDS = [
    (r'(?m)^url = "mqtt:.*', 'url = "mqtts://broker.example.org"'),
    (r'(?m)^username = ""', 'username = "agent"'),
    (r'(?m)^proxy = "socks5:.*', ""),
    (r"(?m)^(workflow|every|at) = .*", ""),
    (r"(?m)^cw_key_file = .*", ""),
]


def uncommented(text: str) -> str:
    """Every option that is commented out taken in: they stand right after their #, text after a blank."""
    return re.sub(r"(?m)^#(?=[^ #\n])", "", text)


def test_the_example_on_disk_is_the_one_the_declarations_give() -> None:
    assert EXAMPLE.read_text() == example(), AGAIN


def test_the_documentation_on_disk_is_the_one_the_declarations_give() -> None:
    text = PAGE.read_text()
    assert text == page(text), AGAIN
    assert text.count(MARK) == 1


def test_the_example_loads_as_it_is(tmp_path: Path) -> None:
    config = load([EXAMPLE], {})
    assert {table.kind for table in config.collectors.values()} == set(KINDS["collectors"].own)
    assert {table.kind for table in config.sinks.values()} == set(KINDS["sinks"].own)
    # What is for the reader to make: a directory, and of one agent the leader.
    left = (" sinks.archive.path: /var/log/telemetry-agent is no directory", "this agent is a member: hourly-etl ")
    assert all(any(each in str(warning) for each in left) for warning in config.warnings)


def test_the_example_means_the_defaults(tmp_path: Path) -> None:
    config = load([EXAMPLE], {})
    for part, cls in ((config.spool, OWN["spool"]), (config.log, OWN["log"]), (config.status, OWN["status"])):
        assert part == cls()


def test_the_example_loads_with_every_option_in_it(tmp_path: Path) -> None:
    text = uncommented(example())
    for pattern, instead in AT_ODDS:
        text = re.sub(pattern, instead, text)
    for name in set(re.findall(r'"credential:([^"]+)"', text)):
        (tmp_path / name).write_text("s3cret-canary")
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "http://127.0.0.1:3128")
    (tmp_path / "there.pem").touch()
    text = re.sub(r"(?m)^(ca_file|client_cert|client_key) = .*", r'\1 = "there.pem"', text)
    (tmp_path / "all.toml").write_text(text)
    load([tmp_path / "all.toml"], environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_the_example_holds_every_option_with_its_meaning() -> None:
    text = example()
    words = " ".join(text.replace("\n#", "\n").split())
    tree = tomllib.loads(uncommented(text))
    for role in KINDS:
        for kind, cls in plugin_classes(role).items():
            (table,) = [table for table in tree[role].values() if table["type"] == kind]
            assert {option.name for option in options(cls)} <= table.keys()
        first = next(iter(tree[role].values()))
        cls = plugin_classes(role)[first["type"]]
        assert {option.name for option in shared(role, cls)} <= first.keys()
    for name, cls in OWN.items():
        assert tree[name].keys() == {option.name for option in options(cls)}
    for cls in [*plugins(), *OWN.values()]:
        for option in every_option(cls):
            assert option.doc in words
            assert re.search(rf"(?m)^#?(\[+[\w.]+\.)?{option.name}\b", text), option.name


def test_the_documentation_holds_every_option_with_its_meaning() -> None:
    text = PAGE.read_text()
    for cls in [*plugins(), *OWN.values(), *(cls for role in COMMON.values() for cls in role)]:
        for option in every_option(cls):
            if option.tables is None:
                rows = [line for line in text.splitlines() if f"| `{option.name}`" in line and option.doc in line]
                assert rows, f"{cls.__name__}.{option.name}"


@pytest.mark.parametrize("cls", [*plugins(), *OWN.values()], ids=lambda cls: cls.__name__)
def test_every_option_is_declared_well(cls: type) -> None:
    for option in every_option(cls):
        assert option.doc.endswith((".", ")")), f"{option.name}: the meaning is a sentence"
        if option.is_required and option.tables is None:
            assert option.sample != "...", f"{option.name}: a required option needs an example"


def test_no_plugin_takes_an_option_that_every_sink_has() -> None:
    common = {option.name for cls in COMMON["sinks"] for option in options(cls)}
    for cls in plugin_classes("sinks").values():
        assert not common & {option.name for option in options(cls)}


def test_the_minimal_file_loads(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(MINIMAL)
    assert load([tmp_path / "agent.toml"], {}).warnings == ()


def test_what_the_documentation_shows_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    (tmp_path / "lake.token").write_text("secret")
    for block in blocks:
        (tmp_path / "agent.toml").write_text(block)
        load([tmp_path / "agent.toml"], {})
