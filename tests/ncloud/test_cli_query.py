"""`cloud-insight query`: values as a table, a plot, or JSON, and the time that is asked about."""

from __future__ import annotations

import contextlib
import io
import json
import time
from datetime import datetime
from pathlib import Path

import pytest
from insight_account import CW_KEY, OTHER_KEY, _no_log_set_up, _served, account, command, config, store

from agent.cli.insight.plot import drawn
from agent.cli.span import Span
from agent.sandbox.ncloud import Sandbox

__all__ = ["_no_log_set_up", "_served", "account", "config"]

MINUTE = 60_000
NOON = int(datetime.fromisoformat("2026-11-20T12:00:00+09:00").timestamp() * 1000)
SPAN = ("--from", "2026-11-20T12:00:00+09:00", "--to", "2026-11-20T13:00:00+09:00")


@pytest.fixture
def values(account: Sandbox) -> Sandbox:
    """Two hosts at noon and a minute later."""
    for minute, cpu in enumerate((10.0, 30.0)):
        store(account, NOON + minute * MINUTE + 5_000, {"cpu": cpu})
        store(account, NOON + minute * MINUTE + 6_000, {"cpu": cpu + 50.0}, host="web-2")
    return account


def test_values_stand_in_a_table(values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("query", "cpu", "host=web-1", *SPAN, "--config", config) == 0
    head, *rows = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert head == ["time", "cpu"]
    found = [(int(datetime.fromisoformat(when).timestamp() * 1000), value) for when, value in rows]
    assert found == [(NOON, "10.0"), (NOON + MINUTE, "30.0")]


def test_programs_get_the_points_and_what_was_asked(
    values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--interval", "min5", "--aggregation", "avg", "--across", "MAX", "--json")
    assert command("query", "cpu", *SPAN, *words, "--config", config) == 0
    said = capsys.readouterr()
    (point,) = json.loads(said.out)["points"]
    assert point == [NOON, 70.0]  # the larger of two averages
    assert json.loads(said.out) | {"points": []} == {
        "cw_key": CW_KEY,
        "metric": "cpu",
        "dimensions": {},
        "from": NOON,
        "to": NOON + 60 * MINUTE,
        "interval": "Min5",
        "aggregation": "AVG",
        "points": [],
    }
    assert said.err == ""


def test_a_plot_is_drawn_of_them_where_it_is_asked_for(
    values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("query", "cpu", "host=web-1", *SPAN, "--plot", "--config", config) == 0
    picture = capsys.readouterr().out.split("\n\n")[1]
    assert "(cpu)" in picture
    assert any("\u2801" <= char <= "\u28ff" for char in picture)  # dots of Braille
    assert command("query", "cpu", "host=web-1", *SPAN, "--config", config) == 0
    assert "\n\n" not in capsys.readouterr().out


@pytest.mark.parametrize("at", [NOON, NOON + 5_000, NOON + 30 * MINUTE, NOON + 60 * MINUTE])
@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, 5e-324])
def test_a_single_value_is_drawn_wherever_it_is(at: int, value: float) -> None:
    shown = drawn([(at, value)], Span(NOON, NOON + 60 * MINUTE), "metric")
    assert sum(line.count("x") for line in shown.splitlines()) == 1


def test_a_terminal_without_such_dots_gets_the_table_alone(
    values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(shown):
        assert command("query", "cpu", "host=web-1", *SPAN, "--plot", "--config", config) == 0
    shown.seek(0)
    assert len(shown.read().splitlines()) == 3
    assert capsys.readouterr().err == "no plot: this terminal's encoding, ascii, has no dots to draw with\n"


def test_none_are_none_and_no_failure(values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--aggregation", "SUM"), ("--from", "2026-01-01", "--to", "2026-01-02")):
        assert command("query", "cpu", *(SPAN if "--from" not in words else ()), *words, "--config", config) == 0
        assert capsys.readouterr().out.startswith("no values of cpu from 2026-")
    assert command("query", "cpu", *SPAN, "--aggregation", "SUM", "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)["points"] == []


@pytest.mark.parametrize("shape", ["array", "data"])
def test_it_reads_both_shapes_that_the_pages_have(
    shape: str, values: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values.settings.change({"query_shape": shape})
    assert command("query", "cpu", "host=web-1", *SPAN, "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)["points"] == [[NOON, 10.0], [NOON + MINUTE, 30.0]]


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ((), 3_600_000),
        (("--last", "90m"), 5_400_000),
        (("--last", "1d", "--to", "2026-11-20T12:00:00+09:00"), 86_400_000),
        (("--from", "1763607600000", "--to", "1763607600001"), 1),
        (("--from", "2026-11-20", "--to", "2026-11-20T12:30"), 45_000_000),
        (("--from", "2026-11-20T03:00:00Z", "--to", "2026-11-20T12:00:01+09:00"), 1_000),
    ],
)
def test_the_time_is_understood(
    words: tuple[str, ...], length: int, account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("query", "cpu", *words, "--json", "--config", config) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["to"] - said["from"] == length
    if "--to" not in words:
        assert abs(said["to"] - time.time() * 1000) < 5_000
    if "2026-11-20" in words:  # without a zone it is this machine's
        assert said["from"] == datetime.fromisoformat("2026-11-20").timestamp() * 1000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cpu", "--last", "soon"), '--last: expected a duration such as "90m" or "7d", found "soon"'),
        (("cpu", "--last", "0"), "--last: expected a duration"),
        (("cpu", "--last", "1h", "--from", "2026-01-01"), "expected --last or --from, found both"),
        (("cpu", "--from", "yesterday"), "--from: expected ISO 8601"),
        (("cpu", "--from", "1763607600"), "--from: expected milliseconds (13 digits today), found 1763607600"),
        (("cpu", "--from", "2026-01-02", "--to", "2026-01-01"), "expected a time that ends after its beginning"),
        (("cpu", "--last", "9999w"), "begins after 1970"),
        (("cpu", "--interval", "Min2"), "--interval: expected one of Min1, Min5, Min30, Hour2, Day1, found 'Min2'"),
        (("cpu", "--aggregation", "P99"), "--aggregation: expected one of AVG, MAX, MIN, SUM, COUNT, found 'P99'"),
        (("cpu", "--across", "x"), "--across: expected one of"),
        (("cpu", "host"), "expected DIMENSION=VALUE, such as host=web-1, found 'host'"),
        (("cpu", "host=a", "host=b"), "expected host once, found 'a' and 'b'"),
        (("cpu", "hots=a"), "Custom/Fleet has no dimension 'hots'; there are host; did you mean host?"),
        (("cpus",), "Custom/Fleet, Custom/Plant: no metric 'cpus'; there are cpu, mem, heat; did you mean cpu?"),
        (("mem",), "mem is a metric of Custom/Fleet, Custom/Plant: expected --schema with one of them"),
        (("mem", "--schema", "Custom/Feet"), "ncloud has no schema 'Custom/Feet'; there are Custom/Fleet, Custom/P"),
        (("heat", "--schema", "Custom/Fleet"), "Custom/Fleet: no metric 'heat'; there are cpu, mem"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is(
    words: tuple[str, ...], told: str, account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("query", *words, "--config", config) == 64
    assert told in capsys.readouterr().err
    assert account.requests == []


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("mem", "--schema", "Custom/Fleet"), CW_KEY),
        (("mem", "line=1", "--schema", OTHER_KEY), OTHER_KEY),
        (("avg_cpu_used_rto", "instanceNo=1", "--schema", "460438474722512896"), "460438474722512896"),  # NAVER's own
    ],
)
def test_the_schema_is_chosen_by_name_or_key(
    words: tuple[str, ...], key: str, account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("query", *words, "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)["cw_key"] == key
    assert [each.cw_key for each in account.requests] == [key]


def test_a_key_in_a_file_is_read_there(
    account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.cw_key"
    config.write_text(config.read_text().replace(f'cw_key = "{CW_KEY}"', f'cw_key_file = "{file}"'))
    assert command("query", "cpu", "--json", "--config", config) == 78
    assert f"{file}" in capsys.readouterr().err
    file.write_text(f"{CW_KEY}\n")
    assert command("query", "cpu", "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)["cw_key"] == CW_KEY


def test_a_refusal_ends_it_with_its_code_and_no_secret(
    account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("SK_TEST_4711", "SK_OTHER_99"))
    assert command("query", "cpu", "--json", "--config", config) == 77
    said = capsys.readouterr()
    assert said.out == ""
    assert "200 Authentication Failed" in said.err
    assert "SK_OTHER_99" not in said.err
