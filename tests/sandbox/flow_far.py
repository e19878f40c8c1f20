"""An account in Data Flow's stand-in for the tests, a client, and a far clock that can be put forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ncloud_client import KEY, SECRET, Said, call

from agent.sandbox.ncloud import Key, Sandbox

RUN = "/jobs/J1/executions"


class Far:
    """A client, and a clock at the far side that can be put forward."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.flow = sandbox, sandbox.flow

    async def ask(self, method: str, path: str, body: object = None, **how: Any) -> Said:
        ahead = self.sandbox.settings.clock_offset
        asked = (self.sandbox.port, method, f"/api/v1{path}", body)
        return await asyncio.to_thread(call, *asked, **{"ahead": ahead, **how})

    async def get(self, path: str) -> Any:
        return (await self.ask("GET", path)).value

    async def listed(self, path: str) -> list[Any]:
        return list((await self.get(path))["list"])

    async def start(self) -> str:
        return str((await self.ask("POST", RUN)).value["jobExecutionId"])

    async def status(self, execution: str) -> str:
        return str((await self.get(f"{RUN}/{execution}"))["status"])

    def later(self, seconds: float) -> None:
        self.sandbox.settings.clock_offset += seconds


@asynccontextmanager
async def account(**options: Any) -> AsyncIterator[Far]:
    """Jobs J1 and J2, whose runs wait for a minute and take ten, behind a trigger that is pulled by hand."""
    slow = {"executions_wait": 60, "executions_take": 600, "runs_appear_after": 30}
    async with Sandbox.open(keys=[Key(KEY, SECRET)], **{**slow, **options}) as sandbox:
        for job in ("J1", "J2"):
            sandbox.flow.add_job(job, f"job-{job}", condition={"logPath": "bucket/logs/"})
        sandbox.flow.add_trigger("T1", "by-hand")
        sandbox.flow.add_workflow("W1", "nightly", trigger="T1", jobs=["J1", "J2"])
        yield Far(sandbox)
