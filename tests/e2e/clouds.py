"""Three clouds for one agent: stand-ins as processes or in a thread, and the tables of the sinks that reach them."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.scene import DATASET, Cloud, cloud, in_a_thread, obsrv_sink
from network.tunnel import Tunnels, proxy

from agent.sandbox import ncloud, obsrv, rackspace
from agent.sandbox.ncloud import process as ncloud_process
from agent.sandbox.obsrv import Dataset
from agent.sandbox.rackspace import process as rackspace_process

ACCESS, SECRET = "ACCESS-KEY-OLD", "SECRET-KEY-OLD"
USER, API_KEY, TENANT = "agent", "key-of-the-sandbox", "123456"


def cw_key(n: int = 0) -> str:
    """The key of schema number `n`."""
    return f"46043847472251289{n}"


def schema(n: int = 0, *metrics: str, dimension: str = "host") -> dict[str, Any]:
    """A schema with one dimension and these metrics (FLOAT), as the console would make it."""
    fields: list[dict[str, Any]] = [{"name": dimension, "dataType": "STRING", "dimension": True, "idDimension": True}]
    fields += [{"name": name, "dataType": "FLOAT", "metric": True} for name in metrics or ("v",)]
    return {"cw_key": cw_key(n), "prodName": f"Custom/P{n}", "fields": fields}


def schema_table(n: int = 0, *, sink: str = "insight", select: str = "*", **metrics: str) -> str:
    """The table that makes rows for schema number `n`: metric = TOML of what it is made of."""
    values = ", ".join(f"{name} = {value}" for name, value in metrics.items())
    return f"""
[[sinks.{sink}.schema]]
cw_key = "{cw_key(n)}"
select = "{select}"
metrics = {{ {values} }}
"""


def insight_sink(url: str, folder: Path, *, rollup: str = "1s", more: str = "", schemas: str = "") -> str:
    """The tables of a sink that sends rows to the gateway, with its keys in files of that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "access").write_text(ACCESS)
    (folder / "secret").write_text(SECRET)
    return f"""
[sinks.insight]
type = "cloud_insight"
url = "{url}"
access_key_file = "{folder}/access"
secret_key_file = "{folder}/secret"
rollup = "{rollup}"
timeout = "5s"
connect_timeout = "2s"
{more}
{schemas}
"""


def notes_sink(identity_url: str, folder: Path, *, more: str = "") -> str:
    """The table of a sink that posts events to the hosted service, with its key in a file of that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api-key").write_text(API_KEY)
    return f"""
[sinks.notes]
type = "rackspace"
tenant = "{TENANT}"
username = "{USER}"
api_key_file = "{folder}/api-key"
identity_url = "{identity_url}"
timeout = "5s"
connect_timeout = "2s"
{more}
"""


@dataclass(frozen=True, slots=True)
class Clouds:
    """The three as processes."""

    lake: Cloud
    insight: ncloud_process.Process
    notes: rackspace_process.Process


@contextmanager
def clouds(directory: Path, *, schemas: Sequence[Mapping[str, Any]] = (), offset: float = 0.0) -> Iterator[Clouds]:
    """The three stand-ins; the clocks of the two that have one are `offset` seconds ahead of this machine's."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ncloud.Key(ACCESS, SECRET)
    with ExitStack() as stack:
        enter = stack.enter_context
        yield Clouds(
            enter(cloud(directory / "lake")),
            enter(
                ncloud_process.start(
                    directory / "insight.ndjson", keys=[key], schemas=schemas or [schema()], clock_offset=offset
                )
            ),
            enter(rackspace_process.start(directory / "notes.ndjson", hosted=True, clock_offset=offset)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The three in a thread of this process, for what only their objects tell, and a proxy beside them."""

    lake: obsrv.Sandbox
    insight: ncloud.Sandbox
    notes: rackspace.Sandbox
    proxy: Tunnels

    def lake_uids(self) -> Counter[str]:
        """How often the lake has each record that carries a `uid`."""
        found = (each.event["fields"].get("uid") for each in self.lake.stored(DATASET))
        return Counter(uid for uid in found if uid)

    def sinks(
        self, folder: Path, *, lake: str = "", insight: str = "", notes: str = "", schemas: str = "", rollup: str = "1s"
    ) -> str:
        """The tables of all three sinks."""
        return (
            obsrv_sink(self.lake.url, more=lake)
            + insight_sink(self.insight.url, folder, rollup=rollup, more=insight, schemas=schemas)
            + notes_sink(self.notes.identity_url, folder, more=notes)
        )


@asynccontextmanager
async def opened(
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    schemas: Sequence[Mapping[str, Any]] = (),
    lake: Mapping[str, Any] | None = None,
    insight: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> AsyncIterator[Inside]:
    """The three on this loop, at that address; with `tls`, over TLS."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield Inside(
            lake=await enter(
                obsrv.Sandbox.open([Dataset(id=DATASET)], host=host, **{"ssl_context": tls, **(lake or {})})
            ),
            insight=await enter(
                ncloud.Sandbox.open(
                    schemas or [schema()],
                    keys=[ncloud.Key(ACCESS, SECRET)],
                    host=host,
                    ssl_context=tls,
                    **(insight or {}),
                )
            ),
            notes=await enter(
                rackspace.Sandbox.open(**{"hosted": True, "host": host, "ssl_context": tls, **(notes or {})})
            ),
            proxy=await enter(proxy(host=host)),
        )


@contextmanager
def clouds_inside(**options: Any) -> Iterator[Inside]:
    """What `opened` gives, in a thread of its own."""
    with in_a_thread(opened(**options)) as inside:
        yield inside


def audited(config: Path) -> None:
    """`audit` ends with 0 for the agent of that file."""
    command = [sys.executable, "-m", "agent", "audit", "--config", str(config)]
    found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, (found.returncode, found.stdout, found.stderr)
