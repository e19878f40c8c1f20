"""The bench itself: a small real run through the broker, and the arithmetic of its tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from brokers import need_mosquitto

from benchmarks import programs, table
from benchmarks.runs import percentile, run
from benchmarks.workloads import AGENT, WORKLOADS, Target, Workload

W2 = WORKLOADS["w2"]


def row(subject: str, number: int, **figures: Any) -> dict[str, Any]:
    fields = {column.field: 0 for column in table.COLUMNS}
    return {"workload": "w2", "sitting": "now", "round": number, "strace": False, "subject": subject} | fields | figures


def rounds(subject: str, *cpu_us: float) -> list[dict[str, Any]]:
    return [row(subject, number, cpu_us=value) for number, value in enumerate(cpu_us, 1)]


@pytest.mark.mosquitto
def test_a_run_has_every_record_delivered_and_every_figure(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    need_mosquitto()
    monkeypatch.setattr(programs, "BUILD", tmp_path)
    result = run(AGENT, replace(W2.load, count=500))
    assert (result.acknowledged, result.delivered, result.lost, result.duplicates) == (500, 500, 0, 0)
    assert 0 < result.cpu_s < result.seconds * 2
    assert 0 < result.p50_ms <= result.p99_ms <= result.worst_ms
    assert result.commits is not None
    assert result.commits > 0
    assert result.written > 500 * 200
    assert result.rss_mib > 10
    assert not list(tmp_path.iterdir())


def test_ratios_are_of_the_same_round_and_skip_rounds_that_only_one_has() -> None:
    rows = rounds(AGENT.name, 5, 6, 7) + rounds("syslog-ng", 10, 24)
    assert table.ratios(rows, "cpu_us", AGENT.name, "syslog-ng") == [0.5, 0.25]


def test_a_target_is_judged_by_the_median_ratio_and_a_loss_by_the_worst_round() -> None:
    rows = rounds(AGENT.name, 2, 3, 9) + rounds("syslog-ng", 10, 10, 10)
    cpu = Target(field="cpu_us", limit=0.3, against="syslog-ng")
    assert table.judged(cpu, rows).endswith("target ≤ 0.3, reached: 0.3")
    assert "**not reached**" in table.judged(replace(cpu, limit=0.2), rows)
    rows[2]["lost"] = 1
    assert table.judged(Target(field="lost", limit=0), rows).endswith("**not reached**: 1")


def test_a_table_has_medians_fsyncs_of_the_traced_run_alone_and_names_who_is_missing() -> None:
    rows = rounds(AGENT.name, 5, 6, 7)
    rows.append(row(AGENT.name, 4, cpu_us=900, fsyncs=73) | {"strace": True})
    missing = {"subject": "collectd", "error": "collectd is not installed: apt-get install collectd-core"}
    rows.append(row("collectd", 1) | missing)
    text = table.markdown(_workload(), rows)
    assert "of 3 rounds" in text
    assert "| telemetry-agent | 6 (5..7) |" in text
    assert "| 73 |" in text
    assert "900" not in text
    assert "- collectd: collectd is not installed" in text


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert (percentile(ordered, 50), percentile(ordered, 99), percentile([4.0], 99)) == (50, 99, 4)


def _workload() -> Workload:
    return replace(W2, targets=())
