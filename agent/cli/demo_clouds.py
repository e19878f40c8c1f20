"""The three stand-in clouds of the demo: they run in its process, and each can be down for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cli.demo_stored import DATASET, DEVICES_KEY, HOST_KEY, TENANT, Cloud, Insight, Obsrv, Rackspace
from agent.sandbox import faults, ncloud, obsrv, rackspace
from agent.sinks.cloud_insight.preset import host

KEY = ncloud.Key("access-key-of-the-sandbox", "secret-key-of-the-sandbox")
USER = rackspace.User(tenants=(TENANT,))
NAMES = ("obsrv", "insight", "rackspace")


@dataclass(frozen=True, slots=True)
class Clouds:
    """All three, running."""

    obsrv: Obsrv
    insight: Insight
    rackspace: Rackspace

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path | None) -> AsyncIterator[Clouds]:
        """Run them until left; their journals go into the directory, if there is one."""
        journals = {name: None if directory is None else directory / f"{name}.ndjson" for name in NAMES}
        async with (
            obsrv.Sandbox.open([obsrv.Dataset(id=DATASET)], journal=journals["obsrv"]) as lake,
            ncloud.Sandbox.open(schemas(), keys=[KEY], journal=journals["insight"]) as gateway,
            rackspace.Sandbox.open(hosted=True, users=[USER], journal=journals["rackspace"]) as events,
        ):
            yield cls(Obsrv(lake), Insight(gateway), Rackspace(events))

    @property
    def all(self) -> Sequence[Cloud]:
        """One after the other."""
        return self.obsrv, self.insight, self.rackspace

    def look(self) -> None:
        """See what came since the last time."""
        for cloud in self.all:
            cloud.look()

    def fail(self, outages: Mapping[str, float], after: float) -> None:
        """Be down for so many seconds, from `after` seconds on."""
        for cloud in self.all:
            if cloud.name in outages:
                # Retry-After keeps the agent's pauses short, so that the demo ends soon after the outage.
                cloud.faults.add(faults.unavailable(1, after=after, seconds=outages[cloud.name]))

    def heal(self) -> None:
        """Be up, from now on."""
        for cloud in self.all:
            cloud.faults.clear()


def schemas() -> list[dict[str, Any]]:
    """The custom schemas of the account, as CreateCustomSchema takes them."""
    measures = [_metric(each.name, each.type or "FLOAT") for each in host(HOST_KEY).measures]
    metrics = [_metric("temperature"), _metric("temperature_max"), _metric("messages", "LONG")]
    return [
        {"prodName": "Custom/Host", "cw_key": HOST_KEY, "fields": [_dimension("host"), *measures]},
        {
            "prodName": "Custom/Devices",
            "cw_key": DEVICES_KEY,
            "fields": [_dimension("device"), _dimension("site", names=False), *metrics],
        },
    ]


def _dimension(name: str, *, names: bool = True) -> dict[str, Any]:
    return {"name": name, "dataType": "STRING", "dimension": True, "idDimension": names}


def _metric(name: str, kind: str = "FLOAT") -> dict[str, Any]:
    return {"name": name, "dataType": kind, "metric": True}
