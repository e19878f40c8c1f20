"""
Where the time of each workload goes: benchmarks/profiles/NAME.txt, by stage, by module and by function.

    python -m benchmarks.profiles [NAME ...]          needs py-spy: pip install -e '.[bench]'

py-spy looks at this agent's threads 500 times a second, without stopping them, and gives the stacks of those that run
or could, which a thread that waits for the interpreter does too. How much CPU each thread has had, the kernel says:
that is what its samples share, so that the figures add up to what a record costs. A module has what it calls outside of
the agent as well: that is its doing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console

from benchmarks.programs import ROOT, Failed, Missing, folder
from benchmarks.runs import Result, run
from benchmarks.workloads import AGENT, WORKLOADS, Workload

FOLDER = Path(__file__).resolve().parent / "profiles"
DEFAULT = ("w1", "w2", "w4", "paced-5000", "w2-tls", "thin-10")
SAMPLES = 500  # a second
MOST = 40  # functions that are listed
STOP_SECONDS = 30.0

# What a record goes through, and whose doing that is; the first that fits. What is left is the loop's and the threads'.
STAGES = (
    ("read from the broker, parse, route, acknowledge", ("agent.collectors", "mqtt5")),
    ("check, stamp, hand over", ("agent.intake", "agent.payload", "agent.record", "agent.events")),
    ("read back", ("agent.spool.reading", "agent.spool.scan", "agent.spool.segment", "agent.spool.tail")),
    ("plans, cursors, marks", ("agent.spool.cursor", "agent.spool.keeper", "agent.spool.claims", "agent.spool.mark")),
    ("frame, write, sync", ("agent.spool",)),
    ("form, encode, compress, judge", ("agent.delivery", "agent.sinks")),
    ("HTTP", ("agent.http", "aiohttp", "multidict", "yarl")),
)
ELSE = "the event loop, threads waking each other, the rest"

_FRAME = re.compile(r"(?P<function>.+?) \((?P<file>[^()]+?)(?::\d+)?\)")
_THREAD = re.compile(r"thread \((?P<id>\d+)\): (?P<name>.*)")

K = TypeVar("K")


class Frame(NamedTuple):
    """A function and the module it stands in."""

    module: str
    function: str

    @property
    def is_own(self) -> bool:
        """Whether it is the agent's own."""
        return self.module == "agent" or self.module.startswith("agent.")


@dataclass(slots=True, kw_only=True)
class Recording:
    """What was seen of a process: py-spy's stacks, in its raw format, and seconds of CPU by thread id."""

    path: Path
    cpu: dict[int, float] = field(default_factory=dict)

    @contextmanager
    def of(self, pid: int) -> Iterator[None]:
        """Record that process while the block lasts. Raises Missing, Failed."""
        command = [_py_spy(), "record", "--pid", str(pid), "--format", "raw", "--output", str(self.path)]
        command += ["--rate", str(SAMPLES), "--nonblocking", "--threads", "--full-filenames"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        before = _cpu_of_threads(pid)
        try:
            yield
        finally:
            self.cpu = {thread: cpu - before.get(thread, 0.0) for thread, cpu in _cpu_of_threads(pid).items()}
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=STOP_SECONDS)
        if not self.path.exists() or not self.path.stat().st_size:
            raise Failed(f"py-spy recorded nothing of process {pid}; it said:\n{said[-2000:]}")


def _cpu_of_threads(pid: int) -> dict[int, float]:
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue  # it has just ended
    return found


def _py_spy() -> str:
    # It is installed beside the Python that runs this, whose folder need not be where a shell looks.
    found = shutil.which("py-spy", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        raise Missing("py-spy is not installed: pip install -e '.[bench]'")
    return found


class Stack(NamedTuple):
    """A line of py-spy's raw format: how often a thread was seen in these frames, the outermost first."""

    thread: int
    name: str
    frames: tuple[Frame, ...]
    samples: int

    @property
    def blamed(self) -> Frame:
        """The innermost frame of the agent's own, or the innermost of all; what runs the event loop owns none of it."""
        within = self.frames
        for place, frame in enumerate(self.frames):
            if frame.function == "BaseEventLoop._run_once":
                within = self.frames[place:]
        return next((frame for frame in reversed(within) if frame.is_own), within[-1])


def stacks(text: str) -> Iterator[Stack]:
    """The lines of py-spy's raw format."""
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        first, *rest = stack.split(";")
        thread = _THREAD.fullmatch(first)
        frames = tuple(
            Frame(_module(match["file"]), match["function"]) for match in map(_FRAME.fullmatch, rest) if match
        )
        if thread is None:
            raise Failed(f"py-spy: expected a line to begin with thread (ID): NAME, found {first!r}")
        if frames:
            # Threads of one pool are one.
            yield Stack(int(thread["id"]), re.sub(r"[-_]\d+$", "", thread["name"]), frames, int(count))


def _module(file: str) -> str:
    """agent.spool.writer for .../agent/spool/writer.py; what is not the agent's has its name in its library."""
    path = Path(file)
    if path.is_relative_to(ROOT / "agent"):
        path = path.relative_to(ROOT)
    else:
        for root in ("site-packages", "lib-dynload", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
            if root in path.parts:
                path = Path(*path.parts[path.parts.index(root) + 1 :])
                break
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__").lstrip(".")


def report(workload: Workload, result: Result, recording: Recording) -> str:
    """What is kept of a profile."""
    seen = list(stacks(recording.path.read_text()))
    samples: Counter[int] = Counter()
    for stack in seen:
        samples[stack.thread] += stack.samples
    threads: defaultdict[str, float] = defaultdict(float)
    by_stage: defaultdict[str, float] = defaultdict(float)
    modules: defaultdict[str, float] = defaultdict(float)
    own: defaultdict[Frame, float] = defaultdict(float)
    whole: defaultdict[Frame, float] = defaultdict(float)
    for stack in seen:
        thread_us = recording.cpu.get(stack.thread, 0.0) * 1e6 / result.delivered
        micros = thread_us * stack.samples / samples[stack.thread]
        threads[stack.name] += micros
        by_stage[_stage(stack.blamed.module)] += micros
        modules[stack.blamed.module] += micros
        own[stack.frames[-1]] += micros
        for frame in set(stack.frames):
            whole[frame] += micros
    functions = _largest(own)[:MOST]
    total = sum(threads.values())
    unseen = max(0.0, sum(recording.cpu.values()) * 1e6 / result.delivered - total)
    return "\n".join(
        (
            f"{workload.name}: {workload.about}",
            f"{result.delivered:,} records; {samples.total():,} samples, {SAMPLES} a second; µs of CPU a record",
            f"{total:.2f} in all, and {unseen:.2f} in threads that were never seen",
            "",
            "By thread",
            *(f"{micros:8.3f}  {name}" for name, micros in _largest(threads)),
            "",
            "By stage",
            *(f"{by_stage[name]:8.3f}  {name}" for name in (*(name for name, _ in STAGES), ELSE)),
            "",
            "By module, with what it calls outside of the agent",
            *(f"{micros:8.3f}  {name}" for name, micros in _largest(modules) if micros * 1000 >= total),
            "",
            f"By function, itself and with all that it calls: the {MOST} that take most themselves",
            *(f"{us:8.3f} {whole[frame]:8.3f}  {frame.module}  {frame.function}" for frame, us in functions),
            "",
        )
    )


def _stage(module: str) -> str:
    return next((name for name, modules in STAGES if any(f"{module}.".startswith(f"{own}.") for own in modules)), ELSE)


def stages(path: Path) -> dict[str, float]:
    """µs a record by stage, out of a kept profile."""
    after = path.read_text().partition("By stage\n")[2].partition("\n\n")[0]
    return {name: float(micros) for micros, name in (line.strip().split("  ", 1) for line in after.splitlines())}


def _largest(of: Mapping[K, float]) -> list[tuple[K, float]]:
    return sorted(of.items(), key=lambda item: -item[1])


def profile(workload: Workload) -> Path:
    """Run a workload once under py-spy and keep its report. Raises Missing or Failed."""
    with folder("profile") as place:
        recording = Recording(path=place / "stacks.txt")
        result = run(
            AGENT,
            workload.load,
            outage=workload.outage,
            clouds=workload.clouds,
            beside=recording.of,
        )
        text = report(workload, result, recording)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{workload.name}.txt"
    path.write_text(text)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"workloads; without any {', '.join(DEFAULT)}")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in WORKLOADS]:
        parser.error(f"expected names of {list(WORKLOADS)}, got {unknown}")
    console = Console(stderr=True)
    try:
        for name in options.names or DEFAULT:
            console.print(f"profiling {name}")
            print(profile(WORKLOADS[name]).relative_to(ROOT))
    except (Missing, Failed) as problem:
        sys.exit(f"profiles: {problem}")


if __name__ == "__main__":
    main()
