"""The collector of kind `host`: its options, and the loop that samples at every tick and emits what was found."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from random import Random
from typing import ClassVar, Literal, get_args

import structlog

from agent.collectors.host.filters import (
    EXCLUDE_DEVICES,
    EXCLUDE_FSTYPES,
    EXCLUDE_INTERFACES,
    EXCLUDE_MOUNTS,
    Filter,
)
from agent.collectors.host.machine import Machine, readings
from agent.collectors.host.readings import Group, Reading, Tags
from agent.collectors.host.sampling import Sample, Sampler
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.tree import Tree
from agent.ports import Context, Emit
from agent.record import Emission, Stream
from agent.schema import Duration, option
from agent.timing import next_tick

log = structlog.get_logger()

Naming = Literal["telegraf", "otel", "ncloud"]

GROUPS = tuple(group for group in get_args(Group) if group not in {"top", "users"})

# A tick may take this much longer than its interval and the first reading that hangs before the watchdog minds.
SLACK = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The metrics of the machine: docs/host-metrics.md has every field under its three names."""

    sampled: ClassVar[bool] = True

    interval: Duration = option("Time between samples.", 10.0, low=0.1)
    groups: tuple[Group, ...] = option(
        "What to sample; top (processes that use most) and users (who is logged in) when asked for: both name people.",
        GROUPS,
    )
    per_cpu: bool = option("A record for each CPU, beside the one for all of them.", True)
    host_root: str = option('Where the host\'s file system is mounted, in a container: "/host".', "")
    mounts: tuple[str, ...] = option(
        "Mount paths to report (globs), of any type, and no others; empty: all but the excluded.", ()
    )
    exclude_mounts: tuple[str, ...] = option("Mount paths to leave out (globs).", EXCLUDE_MOUNTS)
    exclude_fstypes: tuple[str, ...] = option("File system types to leave out (globs).", EXCLUDE_FSTYPES)
    interfaces: tuple[str, ...] = option(
        "Network interfaces to report (globs), up or down, and no others; empty: all that are up but the excluded.", ()
    )
    exclude_interfaces: tuple[str, ...] = option("Network interfaces to leave out (globs).", EXCLUDE_INTERFACES)
    devices: tuple[str, ...] = option(
        "Block devices to report in diskio (globs), and no others; empty: all but the excluded.", ()
    )
    exclude_devices: tuple[str, ...] = option("Block devices to leave out (globs).", EXCLUDE_DEVICES)
    cgroups: tuple[str, ...] = option(
        'Control groups to report: globs below the mount of cgroup v2 ("system.slice/*"); '
        "empty: the agent's own, which in a container is the container's, or with host_root the root.",
        (),
    )
    top_processes: int = option(
        "In group top, how many processes to report by CPU, and as many by memory.", 5, low=1, high=1000
    )
    timeout: Duration = option("How long one reading may take; what hangs is left out until it returns.", 3.0, low=0.01)
    naming: Naming = option(
        "Whose names and units to use for fields and tags: Telegraf's, OpenTelemetry's conventions, "
        "or those of NAVER Cloud's own server agent; sources stay.",
        "telegraf",
    )

    def problems(self) -> list[tuple[str, str]]:
        """Mistakes that only several options together can make: (option, text)."""
        found = []
        if not self.groups:
            found.append(("groups", f"expected at least one of {', '.join(get_args(Group))}"))
        if self.host_root and not self.host_root.startswith("/"):
            found.append(("host_root", f"expected an absolute path, found {self.host_root!r}"))
        found += [
            ("cgroups", f"expected globs below the mount of cgroup v2, found {pattern!r}")
            for pattern in self.cgroups
            if ".." in pattern.split("/")
        ]
        defaults = {field.name: field.default for field in fields(self)}
        for name in ("mounts", "interfaces", "devices"):
            exclude = f"exclude_{name}"
            if getattr(self, name) and tuple(getattr(self, exclude)) != defaults[exclude]:
                found.append((exclude, f"has no effect beside {name}, which names all that is reported"))
        return found

    def readings(self) -> list[Reading]:
        """What is read at every tick, in the order of `groups`."""
        found = readings(
            self.machine(),
            self.groups,
            per_cpu=self.per_cpu,
            mounts=Filter.of(self.mounts, self.exclude_mounts),
            fstypes=Filter.of((), self.exclude_fstypes),
            interfaces=Filter.of(self.interfaces, self.exclude_interfaces),
            devices=Filter.of(self.devices, self.exclude_devices),
            top_processes=self.top_processes,
        )
        if self.naming == "telegraf":
            return found  # as they are
        # The tables are loaded where they are used.
        from agent.collectors.host.naming import renamed

        return renamed(found, self.naming)

    def machine(self) -> Machine:
        """The machine that is meant, by the way it is read here."""
        proc = ThroughProc(Tree(self.host_root.rstrip("/")), self.cgroups)
        if proc.tree.root:
            return proc
        # Loaded only now: not every command that reads the configuration is to load psutil.
        if os.uname().sysname == "Linux":
            from agent.collectors.host.linux import Linux

            return Linux(proc)
        from agent.collectors.host.through_psutil import ThroughPsutil

        return ThroughPsutil()

    async def run(self, emit: Emit, context: Context) -> None:
        """Sample and emit at every tick until cancelled. The first sample is taken at once."""
        clock = asyncio.get_running_loop().time
        sampler = Sampler(self.readings(), self.timeout)
        report = _Report(context)
        streams: dict[tuple[str, Tags], Stream] = {}
        missed = context.stats.counter(
            "agent_collector_missed_ticks_total",
            "Ticks at which nothing was sampled: the last one was still at work, or its records not yet durable.",
            collector=context.name,
        )
        # A fleet that was started at once does not sample, and send, in step.
        start, last = clock() + Random().uniform(0, self.interval), -1
        while True:
            received_ms = time.time_ns() // 1_000_000
            sample = await sampler.sample()
            report.take(sample)
            # Only those in use stay: mounts and interfaces come and go.
            streams = {
                (source, tags): streams.get((source, tags)) or Stream(source, dict(tags))
                for source, tags, _ in sample.rows
            }
            context.part.beat(self.interval + self.timeout + SLACK)
            if sample.rows:
                emission = Emission(
                    context.name,
                    [streams[source, tags] for source, tags, _ in sample.rows],
                    [payload for *_, payload in sample.rows],
                    received_ms,
                )
                await self._durable(emit(emission), context)
            tick, n = next_tick(self.interval, start, clock())
            missed.add(n - last - 1)
            last = n
            await asyncio.sleep(tick - clock())

    async def _durable(self, future: asyncio.Future[None], context: Context) -> None:
        # This may take as long as the disk is full, and the watchdog is to see that the loop lives.
        while not future.done():
            await asyncio.wait([future], timeout=self.interval)
            context.part.beat(self.interval + self.timeout + SLACK)
        future.result()


class _Report:
    """Says what fails when it begins to fail, and when it works again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failing: Mapping[str, str] = {}

    def take(self, sample: Sample) -> None:
        name = self._context.name
        for label, reason in sample.failures.items():
            self._context.stats.counter(
                "agent_collector_group_failures_total",
                "Readings that failed or hung, by group.",
                collector=name,
                group=sample.groups[label],
            ).add()
            if label not in self._failing:
                log.warning("host reading failed", collector=name, reading=label, reason=reason)
        for label in self._failing:
            if label not in sample.failures:
                # A mount that is no longer there is no longer asked, and has not recovered.
                what = "host reading works again" if label in sample.groups else "host reading gone"
                log.info(what, collector=name, reading=label)
        self._failing = sample.failures
        if sample.rows or not sample.failures:
            self._context.part.become("up")
        else:
            self._context.part.become("down", "; ".join(f"{label}: {why}" for label, why in sample.failures.items()))
