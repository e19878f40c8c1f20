"""The whole agent with a Cloud Insight sink: minutes of half a second, everything else as it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from far_side import run, until
from structlog.testing import capture_logs

from agent import supervisor
from agent.config import Config, load
from agent.sandbox.ncloud import Key, Sandbox
from agent.supervisor import Running

KEYS = [Key("AK_OLD", "SK_OLD")]
GROUPS = ("cpu", "mem", "load", "system", "processes")
FIELDS = {"cpu": "usage_active", "mem": "used_percent", "load": "load1", "system": "uptime", "processes": "total"}


def cw_key(n: int) -> str:
    return f"46043847472251289{n}"


def row(n: int) -> dict[str, Any]:
    fields = [
        {"name": "host", "dataType": "STRING", "dimension": True, "idDimension": True},
        {"name": "v", "dataType": "FLOAT", "metric": True},
    ]
    return {"cw_key": cw_key(n), "prodName": f"Custom/P{n}", "fields": fields}


def config(folder: Path, url: str, *, interval: str = "100ms", rollup: str = "500ms", schemas: int = 5) -> Config:
    for name, text in (("access", "AK_OLD"), ("secret", "SK_OLD")):
        (folder / name).write_text(text)
    text = f"""
    [agent]
    stop_grace = "5s"
    [spool]
    directory = "spool"
    [collectors.host]
    type = "host"
    interval = "{interval}"
    per_cpu = false
    groups = {list(GROUPS)}
    [sinks.insight]
    type = "cloud_insight"
    url = "{url}"
    access_key_file = "access"
    secret_key_file = "secret"
    rollup = "{rollup}"
    """
    for n in range(schemas):
        text += f"""
        [[sinks.insight.schema]]
        cw_key = "{cw_key(n)}"
        metrics = {{ v = "host.{GROUPS[n]}.{FIELDS[GROUPS[n]]}" }}
        """
    (folder / "agent.toml").write_text(text)
    return load([folder / "agent.toml"], {})


async def running(made: Config, body: Callable[[Running], Awaitable[None]]) -> None:
    """Run the agent, and `body` beside it; then stop it."""
    stop = asyncio.Event()

    @asynccontextmanager
    async def beside(agent: Running) -> AsyncIterator[None]:
        async def work() -> None:
            try:
                await body(agent)
            finally:
                stop.set()

        task = asyncio.create_task(work())
        yield
        await task

    await supervisor.run(made, stop, beside)


def outcomes(agent: Running) -> dict[str, float]:
    """What has become of records, of whatever became anything."""
    found = [each for each in agent.stats.samples() if each.name == "agent_sink_records_total" and each.value]
    return {each.labels["outcome"]: each.value for each in found}


def test_five_schemas_are_five_requests_a_minute_however_often_is_sampled(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open([row(n) for n in range(5)], keys=KEYS) as sandbox:

            async def body(agent: Running) -> None:
                await until(lambda: len(sandbox.stored(cw_key(4))) >= 4, within=10)

            await running(config(tmp_path, sandbox.url), body)
            times = [request.at for request in sandbox.requests]
            minutes = (max(times) - min(times)) / 500
            cpu, *others = (len(sandbox.stored(cw_key(n))) for n in range(5))
            whole = others[0]
            # What the stop cut off is one more, sent at once.
            assert whole <= minutes + 2
            assert len(sandbox.requests) <= 5 * whole
            assert others == [whole] * 4
            assert cpu in (whole, whole - 1)  # the first sample has no usage yet, and may be alone in its window
            assert all(request.status == 200 for request in sandbox.requests)

    run(main())


def test_a_far_clock_ten_minutes_off_is_learned_with_the_first_refusal(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, clock_offset=-600) as sandbox:

            async def body(agent: Running) -> None:
                await until(lambda: len(sandbox.stored(cw_key(0))) >= 2, within=10)

            await running(config(tmp_path, sandbox.url, schemas=1), body)
            assert [request.status for request in sandbox.requests][:2] == [401, 200]
            assert sum(request.status != 200 for request in sandbox.requests) == 1

    run(main())


def test_a_key_rotated_in_its_file_under_load_loses_nothing_and_is_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS) as sandbox:

            async def body(agent: Running) -> None:
                await until(lambda: len(sandbox.stored(cw_key(0))) >= 1, within=10)
                sandbox.keys.add(Key("AK_NEW", "SK_NEW"))
                (tmp_path / "access").write_text("AK_NEW")
                (tmp_path / "secret").write_text("SK_NEW")
                sandbox.keys.revoke("AK_OLD")
                before = len(sandbox.stored(cw_key(0)))
                await until(lambda: len(sandbox.stored(cw_key(0))) >= before + 2, within=10)

            with capture_logs() as logs:
                await running(config(tmp_path, sandbox.url, schemas=2), body)
            told = [line for line in logs if "credentials" in line["event"]]
            assert len(told) == 1
            assert "AK_" not in str(logs)
            assert sum(request.status == 401 for request in sandbox.requests) == 1
            assert not [line for line in logs if line["log_level"] in ("warning", "error")]

    run(main())


def test_a_retry_does_not_repeat_what_was_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS) as sandbox:  # the other schema does not exist yet

            async def body(agent: Running) -> None:
                await until(lambda: len(sandbox.requests) >= 5, within=10)
                taken = len(sandbox.stored(cw_key(0)))
                sandbox.schemas.put(type(next(iter(sandbox.schemas))).of(row(1)))
                await until(lambda: len(sandbox.stored(cw_key(1))) > taken + 1, within=15)

            await running(config(tmp_path, sandbox.url, schemas=2), body)
            counts = Counter(request.cw_key for request in sandbox.requests if request.result == "success")
            rows = [[each.metrics["v"] for each in sandbox.stored(cw_key(n))] for n in range(2)]
            assert counts[cw_key(0)] == len(rows[0])
            assert len(rows[0]) == len(rows[1])

    run(main())


def test_a_windows_wrong_result_is_not_delivery(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open([], keys=KEYS) as sandbox:

            async def body(agent: Running) -> None:
                part = agent.health.part("sink", "insight")
                await until(lambda: part.state == "down" and len(sandbox.requests) >= 3, within=10)
                assert "Custom" not in part.reason  # it has no name
                assert f'cw_key {cw_key(0)}: answered 200, the result is "fail"' in part.reason
                assert agent.deliveries["insight"].queued() > 0
                assert outcomes(agent) == {}

            await running(config(tmp_path, sandbox.url, schemas=1), body)

    run(main())
