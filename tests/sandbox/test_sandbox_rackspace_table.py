"""The Rackspace stand-in against what is known of Blueflood's events route, row by row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rackspace_far import Reply, call, now_in
from rackspace_rows import Row
from rackspace_table import ELSEWHERE, LEFT_OUT, ROWS

from agent.sandbox.rackspace import Sandbox

GROUPS = list(dict.fromkeys(tuple(sorted(row.options.items())) for row in ROWS))


def test_every_row_has_a_name_of_its_own_and_what_is_left_out_a_reason() -> None:
    names = [(row.fact, row.case, str(row.options)) for row in ROWS]
    assert len(set(names)) == len(names) == 145
    assert not {row.fact for row in ROWS} & {*ELSEWHERE, *LEFT_OUT}
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_sandbox_rackspace_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in tests] == []
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize(
    "group", GROUPS, ids=lambda group: " ".join(f"{key}={value}" for key, value in group) or "plain"
)
def test_the_stand_in_does_what_the_row_says(group: tuple[tuple[str, Any], ...]) -> None:
    rows = [row for row in ROWS if tuple(sorted(row.options.items())) == group]

    async def main() -> list[str]:
        wrong: list[str] = []
        async with Sandbox.open(**dict(group)) as sandbox:
            for row in rows:
                before = len(sandbox.events())
                now = int(time.time() * 1000)
                body = row.coded(now_in(row.body, now).encode("utf-8", "surrogatepass"))
                headers = dict(row.headers)
                sent = None if row.method in ("GET", "HEAD") else body
                timeout = 0.3 if row.status is None else 10.0
                got = await asyncio.to_thread(call, sandbox.url, row.method, row.path, sent, headers, timeout=timeout)
                found = differences(row, got, now) + kept(row, sandbox.events()[before:], now)
                wrong += [f"{row.fact}, {row.case}: {line}" for line in found]
        return wrong

    assert not asyncio.run(main())


def differences(row: Row, got: Reply, now: int) -> list[str]:
    if got.status != row.status:
        return [f"status {got.status}, not {row.status}: {got.body[:200]!r}"]
    if "Content-Type" in got.headers:
        return [f"Content-Type {got.headers['Content-Type']!r}, where there is none"]
    if row.allow is not None and got.headers.get("Allow") != row.allow:
        return [f"Allow {got.headers.get('Allow')!r}"]
    if not row.says and not row.sources:
        return [f"body {got.body[:80]!r}"] if got.body else []
    keys = ["tenantId", "timestamp", "metricName", "source", "message"]
    found = [f"keys {list(entry)}" for entry in got.errors if list(entry) != keys or entry["metricName"] != ""]
    found += [f"tenant {entry['tenantId']!r}" for entry in got.errors if entry["tenantId"] != row.error_tenant]
    if row.sources:
        seen = {entry["source"]: entry["message"] for entry in got.errors}
        if seen != row.sources or len(got.errors) != len(seen):
            found.append(f"errors {got.errors}")
        found += [
            f"timestamp {entry['timestamp']!r}" for entry in got.errors if not isinstance(entry["timestamp"], int)
        ]
    else:
        [entry] = got.errors
        if not entry["message"].startswith(row.says) or (entry["source"], entry["timestamp"]) != (None, None):
            found.append(f"entry {entry}")
    return found


def kept(row: Row, items: list[Any], now: int) -> list[str]:
    expected: list[Mapping[str, object]] = []
    if row.stored is not None:
        expected = [{**row.stored, "when": int(now_in(str(row.stored["when"]), now))}]
    seen = [{name: getattr(item, name) for name in ("tenant", "what", "when", "tags", "data")} for item in items]
    return [] if seen == expected else [f"stored {str(seen)[:300]}, not {str(expected)[:300]}"]
