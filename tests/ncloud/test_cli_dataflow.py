"""`telemetry-agent dataflow`: files with their mistakes, jobs, workflows, triggers, statistics, and whose account."""

from __future__ import annotations

import io
import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from data_flow_samples import CONDITION, NODES, SOURCE, TARGET
from flow_commands import ACCESS, AGENT, FOLLOW, SECRET, Flow, flow, process
from processes import wait_for

from agent.cli.dataflow.account import account

__all__ = ["flow", "process"]

JOB_TOML = """\
name = "hourly"
type = "SCRIPT"
maxConcurrentRuns = 2
[jobCondition]
numWorker = 3
[jobCondition.parameters]
day = "today"
"""
INSIGHT = """\
[sinks.{}]
type = "cloud_insight"
access_key = "AK"
secret_key = "SK_OF_THE_SINK"
zone = "{}"
url = "https://sink.example.net"
proxy = "https://proxy.example.net:3128"
preset = "host"
cw_key = "460438474722512896"
"""


# What stands in a file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.toml", JOB_TOML),
        ("job.json", json.dumps({"name": "hourly", "type": "SCRIPT"})),
        ("job", "\ufeff" + json.dumps({"name": "hourly", "type": "SCRIPT"})),
        ("job", JOB_TOML),
    ],
)
def test_a_job_is_made_of_json_or_toml_whatever_the_file_is_called(flow: Flow, name: str, text: str) -> None:
    made = flow("jobs", "create", flow.file(name, text))
    assert made.code == 0, made
    assert flow("jobs", "show", made.out.strip(), "--json").json["name"] == "hourly"
    assert flow("jobs", "delete", made.out.strip(), "--yes").code == 0


def test_a_body_is_read_from_standard_input(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JOB_TOML.encode())))
    made = flow("jobs", "create", "-", "--json")
    assert made.json["runCondition"]["numWorker"] == 3
    assert flow("jobs", "delete", made.json["jobId"], "--yes").code == 0


def test_dates_of_toml_are_sent_as_text(flow: Flow) -> None:
    body = 'name = "once"\ntype = "SCHEDULED"\n[triggerRule]\ntype = "ONE_TIME"\nexecutionDate = 2027-01-02T03:04:05\n'
    made = flow("triggers", "create", flow.file("once.toml", body), "--json").json
    assert made["triggerRule"]["executionDate"].startswith("2027-01-02T03:04:05")
    assert flow("triggers", "delete", "once", "--yes").code == 0


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.json", '{"name": "x",\n "type" "SCRIPT"}', "not JSON: Expecting ':' delimiter (at line 2, column 9)"),
        ("a.toml", 'name = "x"\ntype = SCRIPT', "not TOML: Invalid value (at line 2, column 8)"),
        ("a.json", '{"name": "x", "name": "y"}', '"name" is given twice in one object'),
        ("a.json", "[1]", "expected a JSON object, found a list"),
        ("a", " \n", "is empty: expected a table, as JSON or TOML"),
        ("a.json", '{"a":' * 100_000, "is nested deeper than any body is"),
        ("a.json", '{"name": NaN}', "name: expected a number that JSON can hold, found nan"),
        ("a.toml", 'type = "SCRIPT"', "name: is required, and missing"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(flow: Flow, name: str, text: str, place: str) -> None:
    path = flow.file(name, text)
    said = flow("jobs", "create", path)
    assert (said.code, said.out) == (65, "")
    assert f"{path}: {place}" in said.err


def test_a_file_that_is_no_text_or_not_there_is_told_as_such(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"name": "caf\xe9"}')
    assert flow("jobs", "create", str(tmp_path / "latin.json")).err.endswith("is not UTF-8 text (byte 13)\n")
    gone = flow("jobs", "create", str(tmp_path / "gone.json"))
    assert (gone.code, gone.err) == (74, f"{tmp_path / 'gone.json'}: cannot be read: No such file or directory\n")


def test_every_mistake_of_a_body_is_told_at_once_and_nothing_is_sent(flow: Flow) -> None:
    nodes = [{**SOURCE, "parentNodeIds": [3]}, {**TARGET, "parentNodeIds": [], "updateType": "ADD"}]
    asked = flow.cloud.report()["requests"]
    said = flow("jobs", "create", flow.file("job.json", {"name": "2x", "type": "VISUAL", "nodes": nodes}))
    assert said.code == 65
    assert [line.split(": ")[1] for line in said.err.splitlines()] == [
        "name",
        "nodes[1].updateType",
        "nodes[0].parentNodeIds[0]",
    ]
    assert flow.cloud.report()["requests"] == asked


# Jobs


def test_a_job_is_made_looked_at_changed_verified_and_deleted(flow: Flow) -> None:
    visual = {"name": "nightly", "type": "VISUAL", "nodes": NODES}
    its = flow("jobs", "create", flow.file("job.json", visual)).out.strip()
    assert f"{its}  nightly  VISUAL  RUNNABLE" in " ".join(flow("jobs", "list", "--name", "nightly").out.split("\n"))
    shown = flow("jobs", "show", "nightly")
    assert f"jobId                   {its}\n" in shown.out
    assert "runCondition.numWorker  2\n" in shown.out
    assert "\nnodes\n" in shown.out
    assert "runCondition.timeout    360 min\n" in shown.out
    last = shown.out.splitlines()[-1].split()
    assert last[:5] == ["7", "sql", "TRANSFORM_SQL", "1697776000001", "anything"]
    changed = flow("jobs", "update", its, flow.file("more.toml", 'type = "VISUAL"\nmaxConcurrentRuns = 4\n'), "--json")
    assert (changed.json["name"], changed.json["maxConcurrentRuns"]) == ("nightly", 4)
    config = flow("jobs", "config", "nightly", flow.file("with.toml", "[jobCondition]\nnumWorker = 5\n"), "--json")
    assert config.json["runCondition"]["numWorker"] == 5
    verified = flow("jobs", "verify", flow.file("job.json", {"name": "nightly", "nodes": NODES}))
    assert verified == (0, "nightly: no mistakes\n", "")
    refused = flow("jobs", "delete", "nightly")
    assert (refused.code, refused.out) == (64, "")
    assert refused.err == f"this deletes the job nightly ({its}) for good: add --yes if that is meant\n"
    assert flow("jobs", "delete", "nightly", "--yes") == (0, f"deleted the job nightly ({its})\n", "")
    assert flow("jobs", "show", its).code == 65


def test_what_the_service_calls_no_valid_job_is_none(flow: Flow) -> None:
    flow.cloud.fault("verbatim", status=200, body="false", dataset="POST /api/v1/jobs/verify", count=1)
    said = flow("jobs", "verify", flow.file("job.json", {"name": "nightly", "nodes": NODES}), "--json")
    assert (said.code, json.loads(said.out)) == (65, {"valid": False})
    assert said.err == "nightly: Data Flow says that this is no valid job\n"


def test_a_name_that_several_jobs_have_is_not_guessed_at(flow: Flow) -> None:
    for its in ("T1", "T2"):
        flow.cloud.job(its, "twin")
    flow.cloud.job("T3", "twin-of-none")
    flow.cloud.job("T4", "twin", held="DELETED")
    said = flow("jobs", "delete", "twin", "--yes")
    assert (said.code, said.err) == (64, "twin is the name of several jobs: give the id, one of T2, T1\n")
    assert flow("jobs", "delete", "T1", "--yes").code == 0
    assert flow("jobs", "delete", "twin", "--yes").out == "deleted the job twin (T2)\n"
    unknown = flow("jobs", "show", "twin")
    assert (unknown.code, unknown.out) == (65, "")
    assert unknown.err == "no job has the id or the name twin: `dataflow jobs list` shows those there are\n"


def test_a_status_that_no_job_has_is_told_before_it_is_asked_for(flow: Flow) -> None:
    said = flow("jobs", "list", "--status", "runable")
    assert said.code == 64
    assert 'found "runable"; did you mean RUNNABLE?' in said.err
    assert [job["jobId"] for job in flow("jobs", "list", "--status", "DRAFT", "--json").json] == []


def test_dates_are_shown_in_local_time_and_spans_as_durations(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.cloud.settings(dates="local")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    flow.cloud.outcome(job="J1", take=0.0, count=1)
    flow.cloud.begin("J1")
    wait_for("its end", lambda: flow.cloud.executions("J1")[-1]["status"] == "COMPLETED")
    made = flow("jobs", "executions", "J1", "--limit", "1", "--json").json[0]["createdDate"]
    korean = datetime.fromisoformat(made)
    assert korean.tzinfo is None
    nepalese = korean - timedelta(hours=9) + timedelta(hours=5, minutes=45)
    shown = flow("jobs", "executions", "clean", "--limit", "1").out.splitlines()
    assert len(shown) == 2
    assert f"clean  COMPLETED  {nepalese.isoformat(' ', 'seconds')}+05:45  " in shown[1]
    assert shown[1].endswith("  0s")
    monkeypatch.undo()
    time.tzset()


def test_with_the_older_interface_a_job_is_changed_as_a_whole(flow: Flow) -> None:
    flow.cloud.settings(api="2024", dates="local")
    flow.config.write_text(flow.config.read_text() + 'api = "2024"\n')
    body = {"name": "older", "nodes": NODES}
    its = flow("jobs", "create", flow.file("job.json", body)).out.strip()
    short = flow("jobs", "update", its, flow.file("job.json", {"type": "DATAFLOW"}))
    assert (short.code, short.err.count("is required, and missing")) == (65, 2)
    whole = flow("jobs", "update", its, flow.file("job.json", {**body, "type": "DATAFLOW", "isTemp": False}), "--json")
    assert whole.json["type"] == "DATAFLOW"
    bare = flow("jobs", "run", its)
    assert (bare.code, bare.err) == (65, "run: jobCondition: is required, and missing\n")
    run = flow(
        "jobs", "run", its, flow.file("with.json", {"jobCondition": CONDITION}), "-p", "day=1", *FOLLOW, "--json"
    )
    assert (run.json["status"], run.json["parsedParameters"]) == ("COMPLETED", {"day": "1"})


# Workflows and triggers


def daily(flow: Flow) -> tuple[str, str]:
    """A workflow of the jobs clean and report, one after the other behind a trigger by hand: its id and trigger."""
    by_hand = {"name": "by-hand", "type": "NONE", "triggerRule": {"type": "NONE"}}
    trigger = flow("triggers", "create", flow.file("trigger.json", by_hand)).out.strip()
    flow.cloud.job("J2", "report")
    nodes = [{"id": trigger, "name": "by-hand", "type": "TRIGGER", "parentNodeIds": []}]
    for job, name, parent in (("J1", "clean", trigger), ("J2", "report", "J1")):
        nodes.append({"id": job, "name": name, "type": "JOB", "parentNodeIds": [parent], "jobCondition": CONDITION})
    made = flow("workflows", "create", flow.file("daily.json", {"name": "daily", "nodes": nodes}))
    assert made.code == 0, made
    return made.out.strip(), trigger


def test_a_workflow_is_made_looked_at_changed_and_deleted(flow: Flow) -> None:
    made, trigger = daily(flow)
    listed = [line.split() for line in flow("workflows", "list").out.splitlines()]
    assert [made, "daily", "NONE", "3"] in [row[:4] for row in listed]
    shorter = json.loads((flow.config.parent / "daily.json").read_text())
    shorter |= {"name": "weekly", "nodes": shorter["nodes"][:2]}
    changed = flow("workflows", "update", "daily", flow.file("weekly.json", shorter), "--json").json
    assert (changed["name"], len(changed["nodes"])) == ("weekly", 2)
    assert "by-hand" in flow("workflows", "show", "weekly").out
    assert flow("workflows", "delete", made).code == 64
    assert flow("workflows", "delete", "weekly", "--yes").out == f"deleted the workflow weekly ({made})\n"
    assert flow("triggers", "delete", trigger, "--yes").code == 0


def test_a_workflow_is_followed_through_all_of_its_jobs(flow: Flow) -> None:
    made, trigger = daily(flow)
    assert flow("workflows", "run", "daily", *FOLLOW, "--json").json["status"] == "COMPLETED"
    ran = flow("workflows", "executions", "daily", "--json").json
    assert {(each["jobName"], each["status"]) for each in ran} == {("clean", "COMPLETED"), ("report", "COMPLETED")}
    flow.cloud.outcome(job="J1", end="FAILED", count=1)
    assert flow("workflows", "run", made, *FOLLOW).code == 79
    assert len(flow.ran("J2")) == 1
    started = flow("workflows", "run", made)
    assert started.out.strip() in flow.ran("J1")
    wait_for("all of it", lambda: [each["status"] for each in flow.cloud.executions("J2")] == ["COMPLETED"] * 2)
    assert flow("workflows", "delete", made, "--yes").code == 0
    assert flow("triggers", "delete", trigger, "--yes").code == 0


def test_triggers_are_listed_with_the_times_at_which_they_go_off(flow: Flow) -> None:
    rule = {"type": "RECURRING", "interval": "WEEK", "dayOfWeek": ["MONDAY", "FRIDAY"], "time": "10:00"}
    body = {"name": "twice-a-week", "type": "SCHEDULED", "triggerRule": rule}
    its = flow("triggers", "create", flow.file("trigger.json", body)).out.strip()
    listed = flow("triggers", "list", "--name", "twice").out
    assert f"{its}  twice-a-week  SCHEDULED  WEEK MONDAY, FRIDAY 10:00  2" in listed
    assert "triggerRule.interval   WEEK" in flow("triggers", "show", "twice-a-week").out
    deleted = flow("triggers", "delete", "twice-a-week", "--yes", "--json").json
    assert deleted == {"triggerId": its, "name": "twice-a-week", "deleted": True}
    assert flow("triggers", "list", "--name", "twice") == (0, "none\n", "")


# Statistics


def test_statistics_tell_results_counts_and_times_of_a_span(flow: Flow) -> None:
    flow.cloud.outcome(job="J1", end="FAILED", count=1)
    assert flow("jobs", "run", "J1", *FOLLOW).code == 79
    now = datetime.now().astimezone()
    of_today = ("--from", (now - timedelta(days=1)).isoformat(), "--to", (now + timedelta(days=1)).isoformat())
    head, row = (line.split() for line in flow("stats", "results", *of_today).out.splitlines())
    assert head == ["executions", "completed", "failed"]
    results = flow("stats", "results", *of_today, "--json").json
    assert row == [str(results[name]) for name in ("totalCount", "completedCount", "failedCount")]
    assert results["failedCount"] >= 1
    days = flow("stats", "counts", *of_today).out.splitlines()
    assert days[0].split() == ["from", "to", "executions"]
    assert sum(int(line.split()[-1]) for line in days[1:]) == results["totalCount"]
    times = flow("stats", "times", *of_today, "--json").json["result"]
    shown = flow("stats", "times", *of_today).out.splitlines()
    first = datetime.fromtimestamp(times[0]["time"] / 1000).astimezone().isoformat(" ", "seconds")
    assert shown[1].startswith(first)
    assert flow("stats", "times", "--last", "1d").code == 0
    long_ago = flow("stats", "results", "--from", "2020-01-01", "--to", "2020-01-02T00:00", "--json").json
    assert long_ago["totalCount"] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--last", "1d", "--from", "2026-01-01"), "expected --last or --from, found both"),
        (("--last", "a while"), '--last: expected a duration such as "90m" or "7d", found "a while"'),
        (("--from", "yesterday"), "--from: expected ISO 8601"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "expected a time that ends after its beginning"),
        (("--last", "900000w"), "expected a time that ends after its beginning, and begins after 1970"),
    ],
)
def test_a_span_of_time_that_is_none_is_told(flow: Flow, words: tuple[str, ...], text: str) -> None:
    said = flow("stats", "results", *words)
    assert (said.code, said.out) == (64, "")
    assert text in said.err


# The account


def test_without_an_account_of_its_own_it_is_that_of_the_only_cloud_insight_sink(flow: Flow) -> None:
    flow.config.write_text(AGENT + INSIGHT.format("insight", "public"))
    found = account([flow.config])
    assert found.url is None
    assert (found.secret_key.reveal(), found.proxy) == ("SK_OF_THE_SINK", "https://proxy.example.net:3128")
    for text, why in (
        (AGENT, "there is no cloud_insight sink to take it from"),
        (AGENT + INSIGHT.format("one", "public") + INSIGHT.format("two", "public"), "it could be that of one or two"),
        (AGENT + INSIGHT.format("ours", "gov"), "sinks.ours.zone: this service is in public alone"),
    ):
        flow.config.write_text(text)
        said = flow("jobs", "list")
        assert (said.code, said.out) == (78, "")
        assert why in said.err
        assert "[ncloud]" in said.err
        assert "SK_OF_THE_SINK" not in said.err


def test_keys_that_are_refused_are_told_and_never_shown(flow: Flow) -> None:
    flow.config.write_text(flow.config.read_text().replace(SECRET, "SK_WRONG_0815"))
    said = flow("jobs", "list", "--json")
    assert (said.code, said.out) == (77, "")
    assert "credentials refused" in said.err
    assert not any(word in said.err for word in (ACCESS, "SK_WRONG_0815"))


def test_a_far_side_that_is_down_ends_a_command_with_its_own_code(flow: Flow) -> None:
    flow.cloud.fault("answer", stage="read", status=500, code="900", message="Unexpected Error")
    said = flow("jobs", "create", flow.file("job.toml", JOB_TOML))
    assert (said.code, said.out) == (69, "")
    assert "it may have been created all the same: `dataflow jobs list` shows that" in said.err
