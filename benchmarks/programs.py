"""Programs that the bench starts: where they are, how they run in a folder of their own, and how they end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmarks"  # beside the sources: on a disk, where /tmp may be memory
STOP_SECONDS = 20.0
BETWEEN_QUESTIONS = 0.02

# Debian keeps daemons where a user's PATH does not look.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Missing(Exception):
    """A program is not installed here. Rows that need it say so, the others go on."""


class Failed(Exception):
    """A run came to nothing: what was expected, what was found, and the end of the log."""


def program(name: str, package: str) -> str:
    """Where that program is. Raises Missing."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this Python."""
    return [sys.executable, "-m", name, *arguments]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def folder(name: str, *, keep: bool = False) -> Iterator[Path]:
    """A new folder under `build/benchmarks`, gone afterwards unless kept."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=BUILD))
    # Mosquitto and syslog-ng may run as users of their own.
    path.chmod(0o755)
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path)


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, its output in that file; at the end SIGTERM, and SIGKILL to its whole group if it stays."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it: SIGTERM, and after STOP_SECONDS SIGKILL to its group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(
    what: str, condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, timeout: float = 30.0
) -> None:
    """Ask until it is so. Raises Failed when the process ends before that, or after the timeout."""
    deadline = time.monotonic() + timeout
    while not condition():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            how = f"it ended with status {ended}" if ended is not None else f"not so after {timeout:g} s"
            raise Failed(f"waited for {what}: {how}; the end of {log.name}:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(BETWEEN_QUESTIONS)


def listens(port: int) -> bool:
    """Whether something takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
