"""`telemetry-agent dataflow` as a person calls it, and the account that it works in: a stand-in as a process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.cli import app
from agent.sandbox.ncloud import Key
from agent.sandbox.ncloud.process import Process, start

ACCESS, SECRET = "AK_FLOW_17", "SK_FLOW_4711"
FOLLOW = ("--wait", "--every", "20ms")
AGENT = """\
[collectors.me]
type = "host"
[sinks.out]
type = "stdout"
"""


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, where it succeeded."""
        assert self.code == 0, self
        return json.loads(self.out)


class Flow:
    """The stand-in, and the commands with its account in agent.toml."""

    def __init__(self, cloud: Process, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.cloud = cloud
        self.config = config
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        with pytest.raises(SystemExit) as end:
            app(["dataflow", *words, "--config", str(self.config)])
        out, err = self._capsys.readouterr()
        return Said(int(end.value.code or 0), out, err)

    def file(self, name: str, body: object) -> str:
        """A file beside agent.toml: a text, or a value as JSON."""
        path = self.config.parent / name
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        return str(path)

    def ran(self, job: str = "J1") -> list[str]:
        """The ids of what ran of a job, the oldest first."""
        return [each["id"] for each in self.cloud.executions(job)]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The stand-in, one for a file of tests."""
    journal = tmp_path_factory.mktemp("cloud") / "journal"
    keys = [Key(ACCESS, SECRET)]
    with start(journal, keys=keys, executions_wait=0.0, executions_take=0.05, runs_appear_after=0.0) as cloud:
        yield cloud


@pytest.fixture
def flow(process: Process, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Flow]:
    """The commands. There is a job J1, called clean."""
    config = tmp_path / "agent.toml"
    account = f'[ncloud]\naccess_key = "{ACCESS}"\nsecret_key = "{SECRET}"\nurl = "{process.url}"\n'
    config.write_text(AGENT + account)
    process.job("J1", "clean")
    handlers, level = logging.root.handlers[:], logging.root.level
    yield Flow(process, config, capsys)
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level = handlers, level
    process.heal()
    process.settings(api="2026", dates="offset")
