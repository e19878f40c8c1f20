"""`telemetry-agent dataflow jobs run`: started once whatever happens, followed to its end, told by the exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flow_commands import FOLLOW, Flow, Said, flow, process
from processes import wait_for

__all__ = ["flow", "process"]

START = "POST /api/v1/jobs/J1/executions"
HOURS = 3600.0


def run(flow: Flow, *words: str, meanwhile: Callable[[], None]) -> Said:
    """`jobs run J1`, and something else that happens while it works."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(meanwhile)
        said = flow("jobs", "run", "J1", *words)
        other.result(20)
    return said


def asked_for(flow: Flow, execution: str) -> None:
    """Return once the command has asked how that execution fares."""
    flow.cloud.fault("slow", seconds=0.0, dataset=f"GET /api/v1/jobs/J1/executions/{execution}")
    wait_for("a question about it", lambda: flow.cloud.hits() > 0)
    flow.cloud.heal()


def begun(flow: Flow, before: list[str]) -> str:
    """The execution that was not there before, once it is."""
    wait_for("the start", lambda: len(flow.ran()) > len(before))
    return flow.ran()[-1]


def test_without_wait_the_id_of_the_execution_is_printed(flow: Flow) -> None:
    said = flow("jobs", "run", "clean")
    assert said == (0, f"{flow.ran()[-1]}\n", "")
    shown = flow("jobs", "execution", "J1", said.out.strip(), "--json").json
    assert (shown["jobExecutionId"], shown["jobName"]) == (said.out.strip(), "clean")


@pytest.mark.parametrize(("end", "code"), [("COMPLETED", 0), ("FAILED", 79), ("CANCELED", 80)])
def test_a_run_that_is_waited_for_exits_by_its_outcome(flow: Flow, end: str, code: int) -> None:
    flow.cloud.outcome(job="J1", take=HOURS, count=1)
    before = flow.ran()

    def come_to_its_end() -> None:
        execution = begun(flow, before)
        asked_for(flow, execution)
        flow.cloud.cut(execution, end)

    said = run(flow, *FOLLOW, "--json", meanwhile=come_to_its_end)
    assert said.code == code
    assert json.loads(said.out)["status"] == end
    told = [line.rpartition(": ") for line in said.err.splitlines()]
    assert [status for _, _, status in told if status != "READY"] == ["RUNNING", end]
    assert {what for what, _, _ in told} == {f"execution {flow.ran()[-1]} of job J1"}


def test_a_run_outlasts_an_answer_of_503_in_the_middle(flow: Flow) -> None:
    flow.cloud.outcome(job="J1", take=HOURS, count=1)
    before = flow.ran()

    def fail_and_recover() -> None:
        execution = begun(flow, before)
        flow.cloud.fault("unavailable", dataset=f"GET /api/v1/jobs/J1/executions/{execution}", count=1)
        wait_for("the failure", lambda: flow.cloud.hits() == 1)
        flow.cloud.cut(execution, "COMPLETED")

    said = run(flow, *FOLLOW, meanwhile=fail_and_recover)
    assert said.code == 0, said
    assert "503" in said.err
    assert len(flow.ran()) == len(before) + 1


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("reset", {"stage": "stored"}),
        ("half_answer", {"stage": "stored"}),
        ("gateway", {"code": "510", "stored": True}),
        ("verbatim", {"status": 503, "body": "<html>", "stored": True}),
        ("verbatim", {"status": 200, "body": "<html>", "stored": True}),
    ],
)
@pytest.mark.parametrize("words", [(), FOLLOW])
def test_a_start_whose_answer_is_lost_is_found_and_not_repeated(
    flow: Flow, fault: str, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    flow.cloud.begin("J1")  # somebody else's, from before
    before = flow.ran()
    flow.cloud.fault(fault, dataset=START, count=1, **options)
    said = flow("jobs", "run", "J1", *words, "--json")
    assert flow.cloud.hits() == 1
    assert flow.ran()[:-1] == before
    assert said.json["jobExecutionId"] == flow.ran()[-1]
    assert "looks for its execution" in said.err


def test_a_run_that_is_refused_says_why_and_not_that_it_may_go_on(flow: Flow) -> None:
    flow.cloud.job("J9", "held", held="STOPPED")
    said = flow("jobs", "run", "held", "--wait")
    assert (said.code, said.out) == (65, "")
    assert "is STOPPED, and not RUNNABLE" in said.err
    assert "it may have been started" not in said.err


def test_a_wait_ends_in_time_and_says_how_to_look_on(flow: Flow) -> None:
    flow.cloud.outcome(job="J1", take=HOURS, count=1)
    said = flow("jobs", "run", "J1", *FOLLOW, "--timeout", "100ms")
    execution = flow.ran()[-1]
    assert (said.code, said.out) == (75, "")
    look = f"telemetry-agent dataflow jobs execution J1 {execution} --config {flow.config}"
    assert said.err.endswith(f"not ended within 100ms; the job goes on: `{look}` shows it\n")
    assert flow("jobs", "execution", "J1", execution, "--json").json["status"] == "RUNNING"


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where whoever started the tests has it ignored, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_leaves_the_job_running_and_says_how_to_look_at_it(flow: Flow) -> None:
    flow.cloud.outcome(job="J1", take=HOURS, count=1)
    before = flow.ran()

    def interrupt() -> None:
        asked_for(flow, begun(flow, before))
        os.kill(os.getpid(), signal.SIGINT)

    said = run(flow, *FOLLOW, meanwhile=interrupt)
    execution = flow.ran()[-1]
    assert (said.code, said.out) == (130, "")
    look = f"telemetry-agent dataflow jobs execution J1 {execution} --config {flow.config}"
    assert said.err.endswith(f"interrupted; the job goes on: `{look}` shows it\n")
    assert flow.cloud.executions("J1")[-1]["status"] == "RUNNING"


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_before_the_answer_says_that_it_may_have_been_started(flow: Flow) -> None:
    flow.cloud.fault("hang", stage="stored", dataset=START)

    def interrupt() -> None:
        wait_for("the start", lambda: flow.cloud.hits() == 1)
        os.kill(os.getpid(), signal.SIGINT)

    said = run(flow, meanwhile=interrupt)
    assert (said.code, said.out) == (130, "")
    look = f"telemetry-agent dataflow jobs executions J1 --config {flow.config}"
    assert said.err == f"interrupted; it may have been started all the same: `{look}` shows it\n"


def test_on_a_terminal_a_run_is_one_line_that_lives(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = flow("jobs", "run", "J1", *FOLLOW)
    assert said.code == 0
    assert f"execution {flow.ran()[-1]} of job J1: COMPLETED" in said.err
    assert said.err.endswith("\x1b[1A\x1b[2K")  # in the end it is taken away
    assert f"jobExecutionId               {flow.ran()[-1]}\n" in said.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--timeout", "1h"), "--timeout has no effect without --wait"),
        (("--wait", "--timeout", "soon"), '--timeout: expected a duration such as "90m" or "7d", found "soon"'),
        (("--wait", "--every", "0"), '--every: expected a duration such as "90m" or "7d", found "0"'),
        (("-p", "day"), '--parameter: expected NAME=TEXT, found "day"'),
        (("-p", "day=1", "-p", "day=2"), "--parameter: day is given twice"),
    ],
)
def test_options_of_a_run_that_mean_nothing_start_nothing(flow: Flow, words: tuple[str, ...], text: str) -> None:
    before = flow.ran()
    said = flow("jobs", "run", "J1", *words)
    assert (said.code, said.out, said.err) == (64, "", f"{text}\n")
    assert flow.ran() == before
