"""The two other clouds beside the receiver, as stand-ins in processes of their own, and an agent's tables for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.cli.demo_clouds import schemas
from agent.sandbox.ncloud import Key
from agent.sandbox.ncloud import process as ncloud
from agent.sandbox.rackspace import process as rackspace

_KEY = Key("access-key", "secret-key")


@contextmanager
def other_clouds(folder: Path) -> Iterator[str]:
    """
    Cloud Insight and a Blueflood, and the configuration that makes an agent use them.

    Both have work: a row a minute of this host's metrics, and the event that the agent has started.
    """
    rows = schemas()[:1]
    with (
        ncloud.start(folder / "insight.ndjson", keys=[_KEY], schemas=rows) as insight,
        rackspace.start(folder / "rackspace.ndjson") as blueflood,
    ):
        yield (
            '[agent]\nlifecycle_jitter = "0s"\n\n'
            '[collectors.machine]\ntype = "host"\n\n'
            f'[sinks.insight]\ntype = "cloud_insight"\nurl = "{insight.url}"\nselect = "host.*"\n'
            f'access_key = "{_KEY.id}"\nsecret_key = "{_KEY.secret}"\n'
            f'preset = "host"\ncw_key = "{rows[0]["cw_key"]}"\n\n'
            f'[sinks.notes]\ntype = "rackspace"\ntenant = "123456"\nurl = "{blueflood.url}"\n'
        )
