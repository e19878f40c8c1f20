"""`telemetry-agent obsrv`, against the stand-in, and the commands of docs/obsrv.md one after the other."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from far_side import run_of
from scene import in_a_thread

from agent.cli import app
from agent.collectors.host.collector import GROUPS, Host, Naming
from agent.collectors.host.readings import Absent, Reading, Row
from agent.record import middle
from agent.sandbox.obsrv import Dataset, Key, Rbac, Sandbox
from agent.sandbox.obsrv.pipeline import Pipeline
from agent.sinks.obsrv import Obsrv, datasets
from agent.sinks.obsrv.expected import NOW_MS
from agent.timing import Backoff

PAGE = (Path(__file__).parents[2] / "docs" / "obsrv.md").read_text()
Output = pytest.CaptureFixture[str]

CONFIG = """
[spool]
directory = "{state}"
[collectors.machine]
type = "host"
groups = ["load"]
[sinks.lake]
type = "obsrv"
url = "{url}"
dataset = "lake"
timeout = "2s"
connect_timeout = "1s"
shape = "flat"
id_key = "id"
"""


@pytest.fixture(scope="module")
def far() -> Iterator[Sandbox]:
    """A stand-in on a loop of its own: a command has the one of its thread."""
    with in_a_thread(Sandbox.open()) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _clean(far: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets, "BACKOFF", Backoff(first=0.01))
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level = handlers, level
    far.catalogue.live.clear()
    far.catalogue.drafts.clear()
    far.state.rbac, far.state.publishes = None, True


@pytest.fixture
def config(far: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(url=far.url, state=tmp_path / "state"))
    return path


def command(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(ended.value.code or 0)


def obsrv(config: Path, *words: str | Path) -> int:
    return command("obsrv", *words, "--config", config)


def test_the_commands_of_the_page_take_a_dataset_from_nothing_to_rows(
    far: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    key = Key.make()
    far.state.rbac = Rbac(key=key)
    for name, role in (("obsrv", "ingestor"), ("obsrv-query", "viewer"), ("admin.jwt", "admin")):
        (tmp_path / name).write_text(key.token({"roles": [role], "exp": 2**33}))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = tmp_path / "agent.toml"
    config.write_text(written.replace('"https://obsrv.example.org"', f'"{far.url}"\nallow_insecure = true'))
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    said: dict[str, str] = {}
    for line in "".join(blocks).splitlines():
        assert "eyJ" not in line
        text, _, remark = line.partition("  #")
        program, *words = shlex.split(text)
        assert program == "telemetry-agent"
        into = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if into else words
        code = command(*words, "--config", config)
        told = capsys.readouterr()
        assert code == int(remark.removeprefix(" ends with ") or 0), f"{line}: {told}"
        assert "eyJ" not in told.out + told.err
        if into:
            (tmp_path / into).write_text(told.out)
        said[f"{len(said)} {line}"] = told.out
    outputs = list(said.values())
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert outputs[2] == shown
    assert outputs[3].startswith("fleet-telemetry is Live")
    assert "fault" not in outputs[4]
    assert "doubt" not in outputs[4]
    assert "data_schema: load1" in outputs[5]
    assert outputs[6].splitlines()[-1].startswith("lake is verified")
    assert outputs[7] == "1\n"
    assert outputs[8].splitlines()[0].split() == ["source", "load1"]
    assert outputs[8].splitlines()[1].startswith("verify.telemetry-agent-")
    assert far.lost == []


def test_every_command_that_there_is_stands_on_the_page(capsys: Output) -> None:
    for words in (["obsrv"], ["obsrv", "dataset"]):
        assert command(*words, "--help") == 0
        listed = re.findall(r"^  ([a-z]+)  ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
        assert listed
        for name in listed:
            assert f"`{' '.join(words)} {name}" in PAGE


def test_a_dataset_is_created_out_of_a_file_with_or_without_the_envelope(
    config: Path, far: Sandbox, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert obsrv(config, "dataset", "example") == 0
    request = json.loads(capsys.readouterr().out)["request"]
    request["tags"] = ["ours"]
    (tmp_path / "inner.json").write_text(json.dumps(request))
    assert obsrv(config, "dataset", "create", "inner.json", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done.items() >= {"dataset": "lake", "status": "Draft"}.items()
    assert obsrv(config, "dataset", "create", "inner.json") == 65
    assert "there is a dataset of that id already" in capsys.readouterr().err
    request["dataset_id"] = "other"
    (tmp_path / "other.json").write_text(json.dumps({"id": "api.datasets.create", "request": request}))
    assert obsrv(config, "dataset", "create", "other.json") == 0
    assert "other is not the dataset of the sink lake, which is lake" in capsys.readouterr().err
    assert set(far.catalogue.drafts) == {"lake", "other"}


@pytest.mark.parametrize(
    ("content", "words", "code"),
    [
        (None, "No such file", 74),
        ("{", "expected JSON", 65),
        ("[1]", "expected an object", 65),
        ('{"request": {"dataset_id": "lake", "name": "Lake"}}', "expected a text as type, found null", 65),
        ('{"dataset_id": "", "name": "Lake", "type": "event"}', 'expected a text as dataset_id, found ""', 65),
    ],
)
def test_a_file_that_is_no_request_is_never_sent(
    config: Path, tmp_path: Path, capsys: Output, content: str | None, words: str, code: int
) -> None:
    if content is not None:
        (tmp_path / "bad.json").write_text(content)
    assert obsrv(config, "dataset", "create", "bad.json") == code
    said = capsys.readouterr().err
    assert said.startswith("bad.json: ")
    assert words in said


def test_publishing_stops_where_the_command_service_is_missing_and_goes_on_from_there(
    config: Path, far: Sandbox, capsys: Output
) -> None:
    far.state.publishes = False
    assert obsrv(config, "dataset", "create", "--publish") == 69
    said = capsys.readouterr()
    assert "lake is ReadyToPublish" in said.err
    assert "does not reach its command service" in said.err
    assert "127.0.0.1:18000" in said.err
    assert said.out == ""
    far.state.publishes = True
    assert obsrv(config, "dataset", "create", "--publish", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"dataset": "lake", "status": "Live"}
    assert obsrv(config, "dataset", "create", "--publish") == 65
    assert "DATASET_EXISTS" in capsys.readouterr().err


def test_a_fault_ends_with_76_and_programs_get_every_finding(config: Path, far: Sandbox, capsys: Output) -> None:
    far.catalogue.put(Dataset(id="lake", validation_config={"validate": True, "mode": "Strict"}))
    assert obsrv(config, "dataset", "verify", "--json") == 76
    found = json.loads(capsys.readouterr().out)
    grades = {each["setting"]: each["grade"] for each in found["findings"]}
    assert (found["sink"], found["dataset"], found["faults"]) == ("lake", "lake", 1)
    assert (grades["validation_config.mode"], grades["timestamp_key"], grades["status"]) == ("fault", "doubt", "ok")
    assert obsrv(config, "dataset", "verify") == 76
    said = capsys.readouterr()
    assert "fault: validation_config.mode: an event with fields the schema does not have (ts, source" in said.out
    assert said.err == "lake does not keep what lake will send: 1 fault\n"
    # To ask for the draft of a published dataset makes one.
    assert far.catalogue.drafts == {}


def test_a_doubt_alone_is_no_failure(config: Path, far: Sandbox, capsys: Output) -> None:
    far.catalogue.put(Dataset(id="lake"))
    assert obsrv(config, "dataset", "verify") == 0
    assert "doubt: dedup_config: only batches are recognised" in capsys.readouterr().out


def test_a_dataset_that_is_not_there_is_told_with_what_to_do(config: Path, capsys: Output) -> None:
    assert obsrv(config, "dataset", "verify") == 76
    assert "there is no dataset lake: `obsrv dataset create` makes one" in capsys.readouterr().err
    assert obsrv(config, "dataset", "read") == 65
    assert "it may be a draft (--draft)" in capsys.readouterr().err
    assert obsrv(config, "dataset", "read", "pond", "--draft") == 65
    assert "there is no draft pond" in capsys.readouterr().err
    assert obsrv(config, "query", "--count") == 65
    assert "there is no datasource lake or lake_events_druid or lake_druid" in capsys.readouterr().err


def test_a_dataset_is_read_as_a_table_or_as_it_is(config: Path, far: Sandbox, capsys: Output) -> None:
    schema = {
        "properties": {"a": {"type": "string"}, "b": {"type": "object", "properties": {"c": {"type": "integer"}}}}
    }
    far.catalogue.put(Dataset(id="lake", status="Draft", data_schema=schema))
    assert obsrv(config, "dataset", "read", "--draft", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data_schema"] == schema
    assert obsrv(config, "dataset", "read", "--draft") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in (["status", "Draft"], ["data_schema:", "a", "string"], ["data_schema:", "b.c", "integer"]):
        assert row in rows
    assert ["extraction_config.dedup_config.drop_duplicates", "true"] in rows


def test_a_query_gives_rows_for_people_and_for_programs(config: Path, far: Sandbox, capsys: Output) -> None:
    far.catalogue.put(Dataset(id="lake", alias="pond"))
    assert obsrv(config, "query", "--count") == 0
    before = int(capsys.readouterr().out)
    assert command("verify-delivery", "lake", "--config", config) == 0
    capsys.readouterr()
    assert obsrv(config, "query", "--count", "--key", "pond") == 0
    assert int(capsys.readouterr().out) == before + 1
    assert obsrv(config, "query", 'SELECT "source", "none" FROM "lake" LIMIT 1 ; ', "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["source"].startswith("verify.")
    assert row["none"] is None
    assert obsrv(config, "query", 'SELECT * FROM "lake" WHERE "source" = \'nobody\' LIMIT 5') == 0
    assert capsys.readouterr().out == "no rows\n"
    for words in ([], ["SELECT 1", "--count"]):
        assert obsrv(config, "query", *words) == 64
    assert obsrv(config, "query", "--count", "--key", "puddle") == 65


def test_without_a_role_or_a_token_it_says_what_it_takes(
    config: Path, far: Sandbox, tmp_path: Path, capsys: Output
) -> None:
    key = Key.make()
    far.state.rbac = Rbac(key=key)
    secret = key.token({"roles": ["viewer"], "exp": 2**33})
    (tmp_path / "viewer.jwt").write_text(secret)
    assert obsrv(config, "dataset", "read") == 77
    assert "UNAUTHORIZED" in capsys.readouterr().err
    assert obsrv(config, "dataset", "create", "--token-file", "viewer.jwt") == 77
    said = capsys.readouterr()
    assert "it takes dataset_creator, dataset_manager or admin (--token-file)" in said.err
    assert secret not in said.out + said.err
    assert obsrv(config, "dataset", "read", "--token-file", "nowhere.jwt") == 74
    assert "--token-file nowhere.jwt: No such file or directory" in capsys.readouterr().err


def test_which_sink_is_meant_is_a_question_only_where_there_are_several(
    config: Path, far: Sandbox, capsys: Output
) -> None:
    text = config.read_text()
    config.write_text(text + text[text.index("[sinks") :].replace("sinks.lake", "sinks.pond").replace('"lake"', '"p"'))
    assert obsrv(config, "dataset", "example") == 64
    assert capsys.readouterr().err == "expected --sink with one of lake, pond\n"
    assert obsrv(config, "dataset", "example", "--sink", "pnd") == 64
    assert "did you mean pond?" in capsys.readouterr().err
    assert obsrv(config, "dataset", "example", "--sink", "pond") == 0
    assert json.loads(capsys.readouterr().out)["request"]["dataset_id"] == "p"
    config.write_text(text[: text.index("[sinks")] + '[sinks.out]\ntype = "stdout"\n')
    assert obsrv(config, "dataset", "example") == 78
    assert "no sink of type obsrv in the configuration" in capsys.readouterr().err


MORE = """
[collectors.plant]
type = "mqtt"
url = "mqtt://localhost"
tags = {line = "press"}
[[collectors.plant.subscription]]
topic = "plant/{site}/state"
tag_keys = ["unit"]
[[events]]
name = "busy"
when = "host.load.load1 > 3"
[[events]]
name = "stuck"
when = 'mqtt.plant.state == "stuck"'
[agent]
hostname = "edge"
"""


@pytest.mark.parametrize("naming", ["telegraf", "otel", "ncloud"])
def test_the_example_knows_what_each_collector_will_send(config: Path, naming: str, capsys: Output) -> None:
    text = config.read_text().replace('["load"]', f'["load", "cpu", "disk", "net"]\nnaming = "{naming}"')
    config.write_text(
        text.replace('shape = "flat"', 'shape = "record"\nselect = ["host.*", "mqtt.*", "event.*"]') + MORE
    )
    assert obsrv(config, "dataset", "example") == 0
    said = capsys.readouterr()
    properties: Any = json.loads(said.out)["request"]["data_schema"]["properties"]
    assert set(properties) == {"ts", "source", "tags", "fields", "id"}
    fields, tags = properties["fields"]["properties"], properties["tags"]["properties"]
    wanted = {"telegraf": "load1", "otel": "system.cpu.load_average.1m", "ncloud": "load_average_1m"}[naming]
    assert fields[wanted] == {"type": "number"}
    assert {"what", "rule", "since"} <= fields.keys()
    assert "value" not in fields, "a number of one rule, a text of the other"
    assert {"host", "topic", "site", "unit", "line"} <= tags.keys()
    assert "nobody knows the fields of mqtt.plant beforehand" in said.err
    config.write_text(config.read_text().replace('select = ["host.*", "mqtt.*", "event.*"]', 'select = "event.busy"'))
    assert obsrv(config, "dataset", "example") == 0
    said = capsys.readouterr()
    fields = json.loads(said.out)["request"]["data_schema"]["properties"]["fields"]["properties"]
    assert fields["value"] == {"type": "number"}
    assert wanted not in fields
    assert said.err == ""


@pytest.mark.parametrize("naming", ["telegraf", "otel", "ncloud"])
@pytest.mark.parametrize("shape", ["record", "flat"])
def test_what_this_machine_says_of_itself_fits_the_example_to_the_field(
    config: Path, naming: str, shape: str, capsys: Output
) -> None:
    # Other control groups have other files, and their fields are nobody's to list.
    groups = tuple(group for group in GROUPS if group != "cgroup")
    text = config.read_text().replace('["load"]', json.dumps(groups) + f'\nnaming = "{naming}"')
    config.write_text(text.replace('shape = "flat"', f'shape = "{shape}"'))
    assert obsrv(config, "dataset", "example") == 0
    request = json.loads(capsys.readouterr().out)["request"]
    dataset = Dataset.of({**request, "validation_config": {"validate": True, "mode": "Strict"}})
    readings = Host(groups=groups, naming=cast("Naming", naming)).readings()
    list(rows(readings))  # of what is a rate, the first look gives nothing
    found = list(rows(readings))
    assert len({row.source for row in found}) > 5
    lake = Obsrv(url="http://lake", dataset="lake", shape=cast("Any", shape), id_key="id")
    records = [b'{"ts":1%b%b}' % (middle(row.source, {"host": "e", **dict(row.tags)}), json.dumps(row.fields).encode())
               for row in found]  # fmt: skip
    events = json.loads(b"[" + lake.encode(run_of(records)) + b"]")
    fates = Pipeline().process(dataset, "m", [{**event, "ts": NOW_MS} for event in events])
    assert [(fate.reason, fate.detail) for fate in fates if fate.reason] == []


def rows(readings: Iterable[Reading]) -> Iterator[Row]:
    for reading in readings:
        try:
            found = list(reading.read())
        except (Absent, OSError):
            continue
        yield from (each for each in found if isinstance(each, Row))
        yield from rows(each for each in found if isinstance(each, Reading))
