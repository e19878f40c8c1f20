"""`cloud-insight schema` and `cloud-insight send`: from an empty account to rows, and what is told of differences."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from insight_account import CW_KEY, KEY, SECRET, _no_log_set_up, _served, account, command

from agent.sandbox import faults
from agent.sandbox.ncloud import Sandbox, Schema
from agent.sandbox.ncloud.troubles import gateway, result, unconfirmed

__all__ = ["_no_log_set_up", "_served", "account"]

HEAD = f"""
[spool]
directory = "state"
[collectors.machine]
type = "host"
[sinks.ncloud]
type = "cloud_insight"
access_key = "{KEY}"
secret_key = "{SECRET}"
"""
PLANT = """
[[sinks.ncloud.schema]]
cw_key_file = "plant.cw_key"
name = "Custom/Plant"
dimensions = { site = "site", device = "device" }
id_dimension = "device"
[sinks.ncloud.schema.metrics]
heat = "temperature"
parts = { field = "parts", rollup = "sum", type = "LONG" }
state = { field = "state", type = "STRING" }
"""
PRESET = 'preset = "host"\ncw_key_file = "host.cw_key"\n'
INTERVALS = ("Min1", "Min5", "Min30", "Hour2", "Day1")
AVERAGES = ["AVG", "MAX", "MIN"]


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class Insight:
    """The commands, with agent.toml for the account."""

    def __init__(self, account: Sandbox, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.account = account
        self.folder = folder
        self._capsys = capsys
        self.configure(PLANT)

    def configure(self, text: str) -> None:
        (self.folder / "agent.toml").write_text(f'{HEAD}url = "{self.account.url}"\n{text}')

    def __call__(self, *words: str | Path) -> Said:
        code = command(*words, "--config", self.folder / "agent.toml")
        return Said(code, *self._capsys.readouterr())

    def json(self, *words: str | Path) -> Any:
        said = self(*words, "--json")
        return json.loads(said.out)

    @property
    def plant(self) -> Schema:
        """The one that was made."""
        (found,) = self.every("Custom/Plant")
        return found

    def every(self, name: str) -> list[Schema]:
        return [schema for schema in self.account.schemas if schema.product == name]

    def sent(self, method: str) -> int:
        return sum(request.method == method for request in self.account.requests)


@pytest.fixture
def insight(account: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Insight]:
    yield Insight(account, tmp_path, capsys)
    for schema in account.schemas:
        if schema.cw_key != CW_KEY:
            account.schemas.drop(schema.cw_key)


def test_a_new_user_makes_the_schema_and_the_key_is_where_the_sink_reads_it(insight: Insight) -> None:
    said = insight("schema", "create", "--use-custom-resource")
    plant = insight.plant
    file = insight.folder / "plant.cw_key"
    assert said == (0, f"Custom/Plant made: cw_key {plant.cw_key}\n", f"the key is in {file}\n")
    assert file.read_text() == f"{plant.cw_key}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(os.listdir(insight.folder)) == ["agent.toml", "plant.cw_key"]
    assert plant.custom_resource
    assert plant.identity == ("device",)
    made = {field.name: (field.data_type, field.metric, dict(field.aggregations)) for field in plant.fields}
    assert made["heat"] == ("FLOAT", True, dict.fromkeys(INTERVALS, AVERAGES))
    assert made["parts"] == ("LONG", True, {interval: [*AVERAGES, "SUM"] for interval in INTERVALS})
    assert made["state"][:2] == ("STRING", True)
    assert made["site"][:2] == made["device"][:2] == ("STRING", False)
    assert insight("schema", "verify").code == 0
    assert insight("send", "device=d1", "site=a", "heat=20.5", "parts=3", "state=7").code == 0
    (row,) = insight.account.stored(plant.cw_key)
    assert (row.target, row.dimensions["site"], row.metrics) == ("d1", "a", {"heat": 20.5, "parts": 3, "state": "7"})


def test_the_presets_schema_is_made_with_all_that_its_rows_hold(insight: Insight) -> None:
    insight.configure(PRESET)
    assert insight("schema", "create").code == 0
    (made,) = insight.every("Custom/Host")
    assert len(made.fields) == 31
    assert made.find("uptime").data_type == "LONG"  # type: ignore[union-attr]
    assert made.find("avg_cpu_used_rto").desc == "CPU used, %"  # type: ignore[union-attr]
    assert insight("schema", "verify").code == 0
    insight.configure(PRESET + 'schema_name = "Custom/Fleet"\n')
    assert insight("schema", "verify").code == 76
    assert len(insight.json("schema", "verify", "Custom/Fleet")[0]["problems"]) > 20


def test_a_name_that_is_there_is_told_with_its_key_and_no_second_is_made(insight: Insight) -> None:
    first = insight.json("schema", "create")
    (insight.folder / "plant.cw_key").unlink()
    posts = insight.sent("POST")
    again = insight("schema", "create", "-o", insight.folder / "other.cw_key")
    assert (again.code, again.out) == (
        0,
        f"Custom/Plant exists, and no second one was made: cw_key {first['cw_key']}\n",
    )
    assert (insight.folder / "other.cw_key").read_text().strip() == first["cw_key"]
    assert f"reads {insight.folder / 'plant.cw_key'}" in again.err
    assert insight.sent("POST") == posts
    insight.configure(PLANT.replace("heat", "warmth"))
    other = insight("schema", "create")
    assert other.code == 76
    assert "+ warmth: metric FLOAT (AVG, MAX, MIN)" in other.out
    assert "schema update Custom/Plant" in other.err


@pytest.mark.parametrize("fault", [gateway("510", stored=True), faults.reset("stored"), unconfirmed("", stored=True)])
def test_a_lost_answer_makes_no_second_schema(insight: Insight, fault: faults.Fault) -> None:
    insight.account.faults.add(fault.only(count=1, contains="prodName"))
    said = insight("schema", "create")
    assert said.code == 0, said
    assert f"made: cw_key {insight.plant.cw_key}" in said.out
    assert "it was made all the same" in said.err


def test_what_was_not_made_is_told_as_that(insight: Insight) -> None:
    insight.account.faults.add(gateway("510", stage="send", contains="prodName"))
    said = insight("schema", "create")
    assert (said.code, said.out, insight.every("Custom/Plant")) == (69, "", [])
    assert "did not answer the gateway in time (504 510" in said.err
    assert "x-ncp-trace-id" in said.err
    assert not (insight.folder / "plant.cw_key").exists()


def test_a_key_that_stands_in_the_configuration_is_compared(insight: Insight) -> None:
    insight.configure(PLANT.replace('cw_key_file = "plant.cw_key"', 'cw_key = "17"'))
    said = insight("schema", "create")
    key = insight.plant.cw_key
    assert f'sinks.ncloud.schema[0] in the configuration needs: cw_key = "{key}"' in said.err
    (verified,) = insight.json("schema", "verify")
    assert verified["problems"] == [f"the configuration has cw_key 17, the service {key}"]
    insight.configure(PLANT.replace('cw_key_file = "plant.cw_key"', f'cw_key = "{key}"'))
    assert insight("schema", "verify").out == f"Custom/Plant: cw_key {key}: as the mapping needs it, 5 fields\n"


def test_a_key_that_cannot_be_written_is_printed_all_the_same(insight: Insight) -> None:
    said = insight("schema", "create", "-o", insight.folder / "no" / "such")
    assert (said.code, said.out) == (74, f"Custom/Plant made: cw_key {insight.plant.cw_key}\n")
    assert "such: the key was not written: No such file or directory" in said.err
    again = insight("schema", "create", "-o", insight.folder / "no" / "such", "--json")
    assert (again.code, json.loads(again.out)["file"]) == (74, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_that_root_writes_is_for_the_agents_user_to_read(insight: Insight) -> None:
    (insight.folder / "state").mkdir()
    os.chown(insight.folder / "state", 12345, 12346)
    assert insight("schema", "create").code == 0
    found = (insight.folder / "plant.cw_key").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12346, 0o600)


def test_an_update_prints_the_difference_and_waits_for_a_yes(insight: Insight) -> None:
    insight("schema", "create")
    key = insight.plant.cw_key
    changed = PLANT.replace("heat", "warmth").replace('"LONG"', '"FLOAT"').replace('"sum"', '"max"')
    insight.configure(changed.replace('id_dimension = "device"', 'id_dimension = "site"'))
    lines = [
        "~ site: kind dimension -> id dimension",
        "~ device: kind id dimension -> dimension",
        "+ warmth: metric FLOAT (AVG, MAX, MIN)",
        "~ parts: dataType LONG -> FLOAT",
        "- heat: metric FLOAT (AVG, MAX, MIN)",
    ]
    asked = insight("schema", "update")
    assert (asked.code, asked.out.splitlines(), insight.sent("PUT")) == (64, lines, 0)
    assert asked.err == f"nothing was changed: --yes gives Custom/Plant (cw_key {key}) these fields\n"
    done = insight("schema", "update", "Custom/Plant", "--yes")
    assert (done.code, done.out.splitlines(), insight.plant.cw_key) == (0, lines, key)
    assert [field.name for field in insight.plant.fields] == ["site", "device", "warmth", "parts", "state"]
    assert "SUM" in insight.plant.find("parts").aggregations["Min1"]  # type: ignore[union-attr]
    again = insight.json("schema", "update", "--yes")
    assert again == {"name": "Custom/Plant", "cw_key": key, "updated": False, "differences": []}
    assert insight.sent("PUT") == 1


def test_an_update_keeps_what_only_the_service_says(insight: Insight) -> None:
    said = insight.json("schema", "create")
    rows = insight.plant.row(secret=False)
    rows["fields"][2] |= {"desc": "of the oven", "counter": True, "aggregations": {"Min1": ["COUNT"]}}
    insight.account.schemas.put(Schema.of(rows))
    insight.configure(PLANT + 'more = "more"\n')
    shown = insight("schema", "update", "--yes")
    averages = "; ".join(f"{interval} AVG, MAX, MIN" for interval in INTERVALS[1:])
    assert shown.out.splitlines() == [
        f"~ heat: aggregations Min1 COUNT -> Min1 COUNT, AVG, MAX, MIN; {averages}",
        "+ more: metric FLOAT (AVG, MAX, MIN)",
    ]
    heat = insight.plant.find("heat")
    assert heat is not None
    assert (heat.desc, heat.counter, heat.aggregations["Min1"]) == ("of the oven", True, ["COUNT", *AVERAGES])
    assert insight.plant.cw_key == said["cw_key"]


def test_verify_tells_what_would_be_lost_and_what_would_not(insight: Insight) -> None:
    assert "the service has no schema of that name" in insight("schema", "verify").out
    insight("schema", "create")
    rows = insight.plant.row(secret=False)
    rows["fields"][3]["dataType"] = "STRING"
    rows["fields"] += [{"name": "line", "dataType": "STRING", "dimension": True, "idDimension": True}]
    rows["fields"] += [{"name": "spare", "dataType": "LONG", "metric": True}]
    insight.account.schemas.put(Schema.of(rows))
    said = insight("schema", "verify")
    head = f"Custom/Plant: cw_key {insight.plant.cw_key}: "
    assert (said.code, [line.removeprefix(head) for line in said.out.splitlines()]) == (
        76,
        [
            "~ parts: dataType STRING -> LONG",
            "- line: id dimension STRING",
            "note: - spare: metric LONG (COUNT, SUM, MAX, MIN, AVG)",
        ],
    )
    (insight.folder / "plant.cw_key").unlink()
    assert "plant.cw_key is not there" in insight("schema", "verify").out


def test_a_schema_is_removed_after_a_yes_alone(insight: Insight) -> None:
    insight("schema", "create")
    key = insight.plant.cw_key
    asked = insight("schema", "delete", "Custom/Plant")
    assert (asked.code, asked.err) == (64, f"nothing was removed: --yes removes Custom/Plant (cw_key {key})\n")
    assert insight.sent("DELETE") == 0
    # Its answer is lost: the repeat is told that there is no such schema, and that is what was wanted.
    insight.account.faults.add(gateway("510", stored=True, count=1))
    done = insight("schema", "delete", "Custom/Plant", "--yes")
    assert (done.code, done.out, insight.every("Custom/Plant")) == (0, f"Custom/Plant (cw_key {key}) is removed\n", [])
    gone = insight("schema", "delete", "Custom/Plant", "--yes", "--cw-key", key)
    assert (gone.code, gone.err) == (65, f"there is no schema Custom/Plant of cw_key {key}\n")


def test_a_schema_is_shown_without_its_secret(insight: Insight) -> None:
    insight("schema", "create")
    assert insight.plant.secret
    outputs = [insight("schema", *words) for words in (["show"], ["show", "--json"], ["verify", "--json"], ["create"])]
    assert not any(insight.plant.secret in "".join(map(str, said)) or "secret" in said.out for said in outputs)
    assert not any(KEY in said.err or SECRET in "".join(map(str, said)) for said in outputs)
    assert outputs[0].out.splitlines()[0] == f"Custom/Plant: cw_key {insight.plant.cw_key}"
    assert outputs[0].out.splitlines()[3].split() == ["device", "id", "dimension", "STRING"]
    (shown,) = json.loads(outputs[1].out)
    assert shown["cw_key"] == insight.plant.cw_key
    missing = insight("schema", "show", "Custom/None")
    assert (missing.code, missing.err) == (65, "there is no schema Custom/None\n")


def test_navers_own_schemas_are_listed(insight: Insight) -> None:
    assert {row["prodName"] for row in insight.json("schema", "system")} >= {"System/Server(VPC)"}
    assert "System/Server(VPC)" in insight("schema", "system").out


@pytest.mark.parametrize(("error", "status", "code"), [("300", 404, 65), ("210", 401, 77), ("400", 429, 69)])
def test_a_refusal_is_told_once_and_is_another_thing_than_silence(
    insight: Insight, error: str, status: int, code: int
) -> None:
    insight.account.faults.add(gateway(error))
    said = insight("schema", "system")
    assert (said.code, said.out, "(status" in said.err) == (code, "", False)
    assert f"({status} {error} " in said.err


@pytest.mark.parametrize(
    ("text", "words", "code", "expected"),
    [
        (PLANT, ["Custom/Plnt"], 64, "there are Custom/Plant; did you mean Custom/Plant?"),
        (
            PLANT + PLANT.replace("plant.cw_key", "b").replace("/Plant", "/B"),
            [],
            64,
            "one of the schemas of sinks.ncloud",
        ),
        (PLANT.replace("Custom/Plant", "Plant"), [], 78, 'expected name = "Custom/..."'),
        (PLANT.replace("Custom/Plant", "Custom/공장"), [], 78, 'found "Custom/공장"'),
        (PLANT.replace("Custom/Plant", ""), [], 78, 'schema[0]: expected name = "Custom/..."'),
        (PLANT, ["--sink", "ncluod"], 64, "did you mean ncloud?"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_asked(
    insight: Insight, text: str, words: list[str], code: int, expected: str
) -> None:
    insight.configure(text)
    said = insight("schema", "create", *words)
    assert (said.code, insight.account.requests) == (code, [])
    assert expected in said.err


def test_without_a_sink_of_the_kind_there_is_no_account(insight: Insight) -> None:
    config = insight.folder / "agent.toml"
    config.write_text('[collectors.machine]\ntype = "host"\n[sinks.out]\ntype = "stdout"\n')
    said = insight("schema", "show")
    assert (said.code, "no sink of type cloud_insight" in said.err) == (78, True)


def test_a_key_that_may_not_is_told_with_the_exit_code_of_a_refusal(insight: Insight) -> None:
    insight.account.faults.add(gateway("210", count=1))
    said = insight("schema", "show")
    assert said.code == 77
    assert "no right to this API" in said.err


# send


@pytest.fixture
def plant(insight: Insight) -> Insight:
    """With the schema made."""
    assert insight("schema", "create").code == 0
    return insight


@pytest.mark.parametrize(
    "text",
    [
        '[{"device":"d1","heat":1.5},{"device":"d2","heat":2,"state":true}]',
        '{"device":"d1","heat":1.5}\n\n{"device":"d2","heat":2,"state":true}\n',
    ],
)
def test_rows_come_from_a_file_or_standard_input(plant: Insight, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (plant.folder / "rows").write_text(text)
    assert plant.json("send", "--file", plant.folder / "rows")["rows"] == 2
    for words in (["send"], ["send", "--file", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert plant(*words).out == f"2 rows taken by Custom/Plant (cw_key {plant.plant.cw_key})\n"
    rows = plant.account.stored(plant.plant.cw_key)
    assert [(row.target, row.metrics["heat"]) for row in rows] == 3 * [("d1", 1.5), ("d2", 2)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["device=d", "hat=1"], "no field hat; did you mean heat?"),
        (["device=d", "heat=warm"], 'heat: expected a value of type FLOAT, found "warm"'),
        (["device=d", "heat=NaN"], 'heat: expected a value of type FLOAT, found "NaN"'),
        (["device=d", "parts=1.5"], "parts: expected a value of type LONG, found 1.5"),
        (["device=d", "parts=9223372036854775808"], "parts: expected a value of type LONG"),
        (["device=d", "heat=null"], "heat: expected a value of type FLOAT, found null"),
        (["site=a", "heat=1"], "expected device, the dimension that names the target"),
        (["device=", "heat=1"], "expected device, the dimension that names the target"),
        (["device=d", "site=a"], "expected a metric, found dimensions alone; there are heat, parts, state"),
        (["device"], 'expected NAME=VALUE, found "device"'),
        (["heat=1", "heat=2", "device=d"], "heat stands twice"),
        (["device=d", "heat=1", "--file", "x"], "found both"),
        (["--file", os.devnull], "expected rows, found nothing"),
    ],
)
def test_what_the_service_would_drop_without_a_word_is_not_sent(
    plant: Insight, words: list[str], expected: str
) -> None:
    posts = plant.sent("POST")
    said = plant("send", *words)
    assert (said.code, plant.sent("POST")) == (64, posts)
    assert expected in said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"device":"d","heat":1}\n{"device":"d","heat":"x"}', "row 2: heat: expected a value of type FLOAT"),
        ('{"device":"d","heat":1}\n{"device"', "row 2: not JSON"),
        ("[1]", "row 1: expected an object such as"),
        ('[{"device":"d","heat":{"a":1}}]', 'found {"a":1}; nothing was sent'),
    ],
)
def test_one_bad_row_in_a_file_keeps_all_of_them_back(plant: Insight, text: str, expected: str) -> None:
    (plant.folder / "rows").write_text(text)
    said = plant("send", "--file", plant.folder / "rows")
    assert (said.code, plant.account.stored(plant.plant.cw_key)) == (65, [])
    assert expected in said.err


def test_a_success_by_its_status_is_none_without_its_result(plant: Insight) -> None:
    plant.account.faults.add(result("fail", "no such metric", count=1))
    said = plant("send", "device=d", "heat=1")
    assert (said.code, said.out) == (69, "")
    assert 'the result is "fail" (no such metric)' in said.err
    assert "0 of 1 rows are known to be taken" in said.err


def test_many_rows_go_in_as_few_requests_as_the_sink_would_make(plant: Insight) -> None:
    rows = [{"device": f"d{n}", "heat": n} for n in range(205)]
    (plant.folder / "rows").write_text(json.dumps(rows))
    posts = plant.sent("POST")
    assert plant.json("send", "--file", plant.folder / "rows")["rows"] == 205
    assert plant.sent("POST") == posts + 3
    # What is too large for the gateway goes in halves, and each row once.
    plant.account.settings.change({"body_limit": 1000})
    assert plant.json("send", "--file", plant.folder / "rows")["rows"] == 205
    assert len(plant.account.stored(plant.plant.cw_key)) == 2 * 205


def test_rows_without_a_key_are_not_sent(insight: Insight) -> None:
    said = insight("send", "device=d", "heat=1")
    assert (said.code, insight.account.requests) == (78, [])
    assert "plant.cw_key is not there" in said.err


def test_the_commands_are_there_for_a_person_at_a_shell(insight: Insight) -> None:
    words = ["cloud-insight", "schema", "create", "--json", "-c", str(insight.folder / "agent.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "agent", *words], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(done.stdout)["cw_key"] == insight.plant.cw_key
