"""The agent and the stand-in far side as real processes, for tests that kill them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

# A pause between two questions, not a guess at how long the answer takes.
BETWEEN_QUESTIONS = 0.02


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, condition: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Ask again and again until the answer is true; give that answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(BETWEEN_QUESTIONS)


def get(url: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class AgentProcess:
    """`telemetry-agent run` as a child, with its configuration, state and log in one folder."""

    def __init__(self, folder: Path, config: str, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.port = free_port()
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.through: tuple[str, ...] = ()  # a command that runs the agent's, under a limit for example
        self._env = env or {}
        self.configure(config)
        self.child: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Write the configuration; the state directory and the status port are this process's own."""
        tables = "" if "[spool]" in text else f'[spool]\ndirectory = "{self.state}"\n'
        tables += f'[status]\nlisten = "127.0.0.1:{self.port}"\n'
        self.config.write_text(text.replace("@STATE@", str(self.state)) + "\n" + tables)

    def start(self, *, ready: bool = True) -> AgentProcess:
        """Start it; with `ready`, return once intake works."""
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                [*self.through, sys.executable, "-m", "agent", "run", "--config", str(self.config)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
            )
        if ready:
            wait_for("the agent to be ready", self.is_ready)
        return self

    def is_ready(self) -> bool:
        """Whether intake works; fails where the process has ended."""
        assert self.child is not None
        assert self.child.poll() is None, f"ended with {self.child.returncode}:\n{self.text()}"
        return get(f"http://127.0.0.1:{self.port}/health/ready")[0] == 200

    def kill(self) -> None:
        """As the kernel's out-of-memory killer would: no warning, no clean-up."""
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to stop and give its exit status."""
        assert self.child is not None
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout)

    def status(self) -> dict[str, Any]:
        """What /status.json shows."""
        code, body = get(f"http://127.0.0.1:{self.port}/status.json")
        assert code == 200, (code, body, self.text())
        answer: dict[str, Any] = json.loads(body)
        return answer

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def command(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run another command of the agent with the same configuration."""
        return subprocess.run(
            [sys.executable, "-m", "agent", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
            env={**os.environ, **self._env, "COLUMNS": "200"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait(10)
