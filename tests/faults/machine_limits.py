"""The rows in which the kernel gives the agent less than it asks for: memory, file descriptors."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from e2e import scene as e2e
from processes import get

from faults.machine_ways import BRISK, CLOSED, HASTY_WATCHDOG, KIB_PAYLOAD, MIB, has_taken
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for

MEMORY = 64 << 20
NOT_LET_IN = "connections cannot be taken in"  # how the log says it of the status pages
CGROUPS = Path("/sys/fs/cgroup")
# The shell moves itself into the group and becomes the agent: all that the agent ever takes is counted there.
ENTERED = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')
SCOPE = ("systemd-run", "--scope", "--quiet", "-p", f"MemoryMax={MEMORY}", "-p", "MemorySwapMax=0", "--")


@contextmanager
def _confined() -> Iterator[tuple[str, ...]]:
    """The command that runs another one in a cgroup of 64 MB without swap, of either version; else skip aloud."""
    place = _place()
    if place is None:
        yield _scope()
        return
    group, limit = place
    try:
        group.mkdir()
    except OSError as error:
        _skip(f"{group} cannot be made ({error.strerror})")
    try:
        (group / limit).write_text(str(MEMORY))
        if (
            group / "memory.swap.max"
        ).exists():  # version 1 accounts for swap in few kernels, and most of these have none
            (group / "memory.swap.max").write_text("0")
        yield (*ENTERED, str(group / "cgroup.procs"))
    finally:
        group.rmdir()


def _place() -> tuple[Path, str] | None:
    """A cgroup that could be made, and the file in it that limits memory; None: not by us."""
    if os.geteuid() != 0:
        return None
    name = f"telemetry-agent-test-{os.getpid()}"
    if "memory" in _text(CGROUPS / "cgroup.subtree_control").split():
        return CGROUPS / name, "memory.max"
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") and (own := CGROUPS / "memory" / path.lstrip("/")).is_dir():
            return own / name, "memory.limit_in_bytes"
    return None


def _scope() -> tuple[str, ...]:
    """systemd makes the group: the system's for root, else the user's own."""
    command = SCOPE if os.geteuid() == 0 else (SCOPE[0], "--user", *SCOPE[1:])
    try:
        lacking = subprocess.run([*command, "true"], check=False, capture_output=True, text=True).stderr.strip()
    except FileNotFoundError:
        lacking = "no systemd-run"
    if lacking:
        _skip(f"no cgroup with a memory controller that may be written to, and no scope ({lacking})")
    return command


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _skip(lacking: str) -> NoReturn:
    missing = f"{lacking}: the row of 64 MB is not run"
    sys.stderr.write(f"\n*** {missing} ***\n")
    pytest.skip(missing)


@fault("memory-64mb")
def little_memory(stage: Stage) -> None:
    """A backlog, a new start over it, and a flood while it is sent."""
    backlog, flood = (5_000, 5_000) if stage.is_quick else (150_000, 150_000)
    for _ in range(stage.times):
        with _confined() as through, stage.scene(spool={"max_bytes": "512MiB"}, started=False) as scene:
            agent = scene.agent
            agent.through = through
            agent.start()
            e2e.subscribed(agent)
            scene.cloud.fault("unavailable")
            scene.publish(range(backlog), payload=KIB_PAYLOAD)
            wait_for("the backlog", partial(has_taken, scene, backlog), 120)
            agent.kill()
            agent.start()
            flooding = scene.publishing(range(backlog, backlog + flood), payload=KIB_PAYLOAD)
            scene.cloud.heal()
            flooding.result(120)
            scene.settle(120, stop=False)
            most = max(stage.outcome.notes.get("most_resident_mib", 0.0), _most_resident(scene) / MIB)
            scene.notes["most_resident_mib"] = round(most, 1)
            assert agent.stop() == 0


def _most_resident(scene: Scene) -> int:
    assert scene.agent.child is not None
    status = Path(f"/proc/{scene.agent.child.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


@fault("descriptors")
def no_descriptor(stage: Stage) -> None:
    """
    None can be opened for a while: no segment, no connection to the far side, no look at the status pages.

    What is open stays open, so messages come in until the segment is full.
    """
    count, env = (2_500, HASTY_WATCHDOG) if stage.is_quick else (6_000, {})
    for _ in range(stage.times):
        with stage.scene(spool={"max_bytes": "8MiB"}, sink=BRISK, env=env) as scene:
            agent, cloud = scene.agent, scene.cloud
            scene.publish(range(200), payload=KIB_PAYLOAD)
            wait_for("the first to be settled", partial(e2e.settled, agent, 200))
            cloud.fault("reset")  # the connection it keeps is of no use any more
            with _no_more_descriptors(scene):
                scene.publish(range(200, 200 + count), payload=KIB_PAYLOAD)
                wait_for("intake to close", lambda scene=scene: CLOSED in scene.agent.text())
                get(f"http://127.0.0.1:{agent.port}/health/live", timeout=0.2)  # it cannot even be let in
                wait_for("that to be told", lambda scene=scene: NOT_LET_IN in scene.agent.text())
                cloud.heal()
            scene.settle()
            # Segment, intake, the reading and the connection of the sink, the pages, the end of it: once or twice each.
            assert agent.text().count("Too many open files") <= 12, "the log has a line for each try"


@contextmanager
def _no_more_descriptors(scene: Scene) -> Iterator[None]:
    assert scene.agent.child is not None
    pid = scene.agent.child.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
