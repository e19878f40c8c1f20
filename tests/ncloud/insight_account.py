"""An account of Cloud Insight for the tests of commands: a stand-in on a thread of its own, and agent.toml for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.cli import app
from agent.sandbox.ncloud import Key, Sandbox, Settings
from agent.sandbox.ncloud.rows import Row

KEY, SECRET = "AK_TEST_17", "SK_TEST_4711"
CW_KEY, OTHER_KEY = "460438474722512897", "460438474722512898"
FLEET: dict[str, Any] = {
    "cw_key": CW_KEY,
    "prodName": "Custom/Fleet",
    "fields": [
        {"name": "host", "dataType": "STRING", "dimension": True, "idDimension": True},
        {"name": "cpu", "dataType": "FLOAT", "metric": True, "aggregations": {"Min1": ["AVG", "MAX"], "Min5": ["AVG"]}},
        {"name": "mem", "dataType": "FLOAT", "metric": True},
    ],
}
CONFIG = """
[spool]
directory = "{state}"
[collectors.machine]
type = "host"
groups = ["load"]
[sinks.ncloud]
type = "cloud_insight"
access_key = "AK_TEST_17"
secret_key = "SK_TEST_4711"
url = "{url}"
[[sinks.ncloud.schema]]
cw_key = "460438474722512897"
name = "Custom/Fleet"
dimensions = {{ host = "host" }}
metrics = {{ cpu = "host.cpu.usage_active", mem = "host.mem.used_percent" }}
[[sinks.ncloud.schema]]
cw_key = "460438474722512898"
name = "Custom/Plant"
dimensions = {{ line = "line" }}
metrics = {{ mem = "plant.mem", heat = "plant.heat" }}
"""


@contextmanager
def opened() -> Iterator[Sandbox]:
    """The account, served until left."""
    started: list[Sandbox] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with Sandbox.open([FLEET], keys=[Key(KEY, SECRET)], visible_after=0) as sandbox:
            started.append(sandbox)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), name="account")
    thread.start()
    try:
        assert ready.wait(10)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def _served() -> Iterator[Sandbox]:
    with opened() as sandbox:
        yield sandbox


@pytest.fixture
def account(_served: Sandbox) -> Iterator[Sandbox]:
    """The account as it is at first."""
    yield _served
    usual = Settings(visible_after=0)
    _served.settings.change({each.name: getattr(usual, each.name) for each in fields(usual)})
    _served.faults.clear()
    _served.ledger.rows(CW_KEY).clear()
    _served.requests.clear()


@pytest.fixture
def config(account: Sandbox, tmp_path: Path) -> Iterator[Path]:
    """agent.toml with a sink for it; no command of these has any business with the state directory."""
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(url=account.url, state=tmp_path / "state"))
    yield path
    assert not (tmp_path / "state").exists()


@pytest.fixture(autouse=True)
def _no_log_set_up() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level = handlers, level


def store(account: Sandbox, at: int, metrics: Mapping[str, float], host: str = "web-1") -> None:
    """A row as if it had come then."""
    row = Row(cw_key=CW_KEY, at=at, arrived=at, request=0, target=host, dimensions={"host": host}, metrics=metrics)
    account.ledger.store(CW_KEY, [row])


def command(*words: str | Path) -> int:
    """Run `cloud-insight` with these words; its exit code."""
    with pytest.raises(SystemExit) as ended:
        app(["cloud-insight", *(str(word) for word in words)])
    return int(ended.value.code or 0)
