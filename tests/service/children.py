"""Small programs that use agent.service as the agent does, run as real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a service manager may have left in the environment of whoever runs the tests.
MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID", "NO_COLOR")


def environment(**extra: str) -> dict[str, str]:
    """This environment without a service manager in it."""
    return {**{key: value for key, value in os.environ.items() if key not in MANAGER}, **extra}


def start(program: str, **env: str) -> subprocess.Popen[str]:
    """Start a program text in a child."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env),
    )


def finish(child: subprocess.Popen[str], timeout: float = 20.0) -> tuple[int, str, str]:
    """Exit status (negative: the signal that ended it), standard output, standard error."""
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"did not end within {timeout} s:\n{out}\n{err}") from None
    return child.returncode, out, err


def run(program: str, **env: str) -> tuple[int, str, str]:
    """Run a program text to its end."""
    return finish(start(program, **env))


class Manager:
    """The socket that systemd would listen on."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def hear(self, timeout: float = 10.0) -> str:
        """The next datagram."""
        self._socket.settimeout(timeout)
        return self._socket.recv(4096).decode()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager(*, abstract: bool = False) -> Iterator[Manager]:
    """Listen as systemd does, on a path or in the abstract namespace."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has room for 107 bytes
        path = Path(folder) / "notify"
        listening = Manager(f"@telemetry-agent-test-{os.getpid()}-{path.parent.name}" if abstract else str(path))
        try:
            yield listening
        finally:
            listening.close()
