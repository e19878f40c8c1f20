"""
OpenTelemetry's names: its semantic conventions for system, process and hardware metrics.

An attribute that differs within a record (mode, state, direction) stands behind the metric's name, one
that tells the instance (device, interface) is a tag: docs/decisions/008 says why. Units are the
conventions' (UCUM): shares are 0 to 1, times are seconds. Counters stay counters.
"""

from __future__ import annotations

from agent.collectors.host.naming.names import (
    BYTES_PER_SECOND_OF_MBIT,
    PAGES,
    RATIO,
    SECONDS_OF_MS,
    SECONDS_OF_US,
    Also,
    LeftOut,
    Names,
    Naming,
    To,
    same,
)
from agent.collectors.host.readings import Tags

SOURCES = {
    "C": "OpenTelemetry semantic conventions (open-telemetry/semantic-conventions, model/system, model/process and "
    "model/hardware)",
    "R": "OpenTelemetry Collector, hostmetrics receiver (open-telemetry/opentelemetry-collector-contrib, "
    "receiver/hostmetricsreceiver), where the conventions have no name",
}

# Telegraf's state of a CPU -> (mode, whose it is). A guest's time is the conventions' user time; ours is apart.
MODES = {
    "user": ("user", "C"), "nice": ("nice", "C"), "system": ("system", "C"), "idle": ("idle", "C"),
    "iowait": ("iowait", "C"), "irq": ("interrupt", "C"), "softirq": ("softirq", "R"), "steal": ("steal", "C"),
    "guest": ("guest", ""), "guest_nice": ("guest_nice", ""),
}  # fmt: skip

MEMORY = "system.memory.linux."


def _sensor(tags: Tags) -> Tags:
    """With the id that the conventions require, unique within the machine."""
    return (("hw.id", "/".join(value for _, value in tags)), *tags)


CPU = Names(
    tags={"cpu": To("cpu.logical_number", by="C")},
    fields={
        **{f"usage_{state}": To(f"system.cpu.utilization.{mode}", RATIO, by=by) for state, (mode, by) in MODES.items()},
        **{f"time_{state}": To(f"system.cpu.time.{mode}", by=by) for state, (mode, by) in MODES.items()},
        "usage_active": LeftOut("1 - `system.cpu.utilization.idle`"),
        "time_active": LeftOut("the sum of the other modes"),
    },
    retag=lambda tags: tuple((tag, value.removeprefix("cpu")) for tag, value in tags if value != "cpu-total"),
)

OTEL = Naming(
    sources=SOURCES,
    groups={
        "cpu": CPU,
        "load": Names(
            fields={
                "load1": To("system.cpu.load_average.1m", by="R"),
                "load5": To("system.cpu.load_average.5m", by="R"),
                "load15": To("system.cpu.load_average.15m", by="R"),
            }
        ),
        "mem": Names(
            fields={
                "total": To("system.memory.limit", by="C"),
                "used": To("system.memory.usage.used", by="C"),
                "free": To("system.memory.usage.free", by="C"),
                "cached": To("system.memory.usage.cached", by="C"),
                "buffered": To("system.memory.usage.buffers", by="C"),
                "used_percent": To("system.memory.utilization.used", RATIO, by="C"),
                "available": To(f"{MEMORY}available", by="C"),
                "available_percent": LeftOut("1 - `system.memory.utilization.used`"),
                "shared": To(f"{MEMORY}shared", by="C"),
                "slab": LeftOut("the sum of the two of `system.memory.linux.slab.usage`"),
                "sreclaimable": To(f"{MEMORY}slab.usage.reclaimable", by="C"),
                "sunreclaim": To(f"{MEMORY}slab.usage.unreclaimable", by="C"),
                "huge_page_size": To(f"{MEMORY}hugepages.page_size", by="C"),
                "huge_pages_total": To(f"{MEMORY}hugepages.limit", by="C"),
                "huge_pages_free": To(f"{MEMORY}hugepages.usage.free", by="C"),
                "swap_total": LeftOut("`host.swap` has it"),
                "swap_free": LeftOut("`host.swap` has it"),
                "wired": To("system.memory.wired"),
                **same(
                    "active inactive dirty write_back write_back_tmp mapped page_tables commit_limit committed_as "
                    "swap_cached vmalloc_total vmalloc_used vmalloc_chunk high_total high_free low_total low_free",
                    MEMORY,
                ),
            },
            also=(
                Also(
                    f"{MEMORY}hugepages.usage.used",
                    "{page}",
                    (f"{MEMORY}hugepages.limit", f"{MEMORY}hugepages.usage.free"),
                    lambda limit, free: limit - free,
                    by="C",
                ),
            ),
        ),
        "swap": Names(
            fields={
                "total": LeftOut("the sum of the two of `system.paging.usage`"),
                "used": To("system.paging.usage.used", by="C"),
                "free": To("system.paging.usage.free", by="C"),
                "used_percent": To("system.paging.utilization.used", RATIO, by="C"),
                "in": To("system.paging.operations.in", PAGES, by="C"),
                "out": To("system.paging.operations.out", PAGES, by="C"),
            }
        ),
        "disk": Names(
            tags={
                "path": To("system.filesystem.mountpoint", by="C"),
                "device": To("system.device", by="C"),
                "fstype": To("system.filesystem.type", by="C"),
                "mode": To("system.filesystem.mode", by="C"),
            },
            fields={
                "total": To("system.filesystem.limit", by="C"),
                "used": To("system.filesystem.usage.used", by="C"),
                "free": To("system.filesystem.usage.free", by="C"),
                "used_percent": To("system.filesystem.utilization.used", RATIO, by="C"),
                "inodes_total": LeftOut("the sum of the two of `system.filesystem.inodes.usage`"),
                "inodes_used": To("system.filesystem.inodes.usage.used", by="R"),
                "inodes_free": To("system.filesystem.inodes.usage.free", by="R"),
                "inodes_used_percent": To("system.filesystem.inodes.utilization.used", RATIO),
            },
            also=(
                Also(
                    "system.filesystem.usage.reserved",
                    "B",
                    ("system.filesystem.limit", "system.filesystem.usage.used", "system.filesystem.usage.free"),
                    lambda limit, used, free: limit - used - free,
                    by="C",
                ),
            ),
        ),
        "diskio": Names(
            tags={"name": To("system.device", by="C")},
            fields={
                "reads": To("system.disk.operations.read", by="C"),
                "writes": To("system.disk.operations.write", by="C"),
                "read_bytes": To("system.disk.io.read", by="C"),
                "write_bytes": To("system.disk.io.write", by="C"),
                "read_time": To("system.disk.operation_time.read", SECONDS_OF_MS, by="C"),
                "write_time": To("system.disk.operation_time.write", SECONDS_OF_MS, by="C"),
                "merged_reads": To("system.disk.merged.read", by="C"),
                "merged_writes": To("system.disk.merged.write", by="C"),
                "io_time": To("system.disk.io_time", SECONDS_OF_MS, by="C"),
                "weighted_io_time": To("system.disk.weighted_io_time", SECONDS_OF_MS, by="R"),
                "iops_in_progress": To("system.disk.pending_operations", by="R"),
                "io_util": To("system.disk.utilization", RATIO),
                "io_await": To("system.disk.io_await", SECONDS_OF_MS),
                "io_svctm": To("system.disk.io_svctm", SECONDS_OF_MS),
            },
        ),
        "net": Names(
            tags={"interface": To("network.interface.name", by="C")},
            fields={
                "bytes_recv": To("system.network.io.receive", by="C"),
                "bytes_sent": To("system.network.io.transmit", by="C"),
                "packets_recv": To("system.network.packet.count.receive", by="C"),
                "packets_sent": To("system.network.packet.count.transmit", by="C"),
                "err_in": To("system.network.errors.receive", by="C"),
                "err_out": To("system.network.errors.transmit", by="C"),
                "drop_in": To("system.network.packet.dropped.receive", by="C"),
                "drop_out": To("system.network.packet.dropped.transmit", by="C"),
                "speed": To("hw.network.bandwidth.limit", BYTES_PER_SECOND_OF_MBIT, by="C"),
            },
        ),
        "system": Names(
            fields={
                "uptime": To("system.uptime", by="C"),
                "n_cpus": To("system.cpu.logical.count", by="C"),
                "n_physical_cpus": To("system.cpu.physical.count", by="C"),
                "n_users": To("system.user.session.count"),
                "n_unique_users": To("system.user.unique.count"),
            }
        ),
        "processes": Names(
            fields={
                "running": To("system.process.count.running", by="C"),
                "sleeping": To("system.process.count.sleeping", by="C"),
                "stopped": To("system.process.count.stopped", by="C"),
                "zombies": To("system.process.count.defunct", by="C"),
                "blocked": To("system.process.count.blocked", by="R"),
                "idle": To("system.process.count.idle", by="R"),
                "paging": To("system.process.count.paging", by="R"),
                "unknown": To("system.process.count.unknown", by="R"),
                **same("dead parked", "system.process.count."),
                "total": LeftOut("the sum of all of `system.process.count`"),
                "total_threads": To("system.thread.count"),
            }
        ),
        "pressure": Names(
            tags={"resource": To("system.linux.pressure.resource"), "type": To("system.linux.pressure.stall_type")},
            fields={
                **same("avg10 avg60 avg300", "system.linux.pressure.", unit=RATIO),
                "total": To("system.linux.pressure.time", SECONDS_OF_US),
            },
        ),
        "cgroup": Names(
            tags={"path": To("system.linux.cgroup.path")}, fields={}, rest=lambda name: f"system.linux.cgroup.{name}"
        ),
        "temperature": Names(
            tags={
                "chip": To("hw.name", by="C"),
                "device": To("hw.parent", by="C"),
                "label": To("hw.sensor_location", by="C"),
            },
            retag=_sensor,
            fields={
                "current": To("hw.temperature", by="C"),
                "high": To("hw.temperature.limit.high.degraded", by="C"),
                "critical": To("hw.temperature.limit.high.critical", by="C"),
            },
        ),
        "fan": Names(
            tags={
                "chip": To("hw.name", by="C"),
                "device": To("hw.parent", by="C"),
                "label": To("hw.sensor_location", by="C"),
            },
            retag=_sensor,
            fields={"rpm": To("hw.fan.speed", by="C")},
        ),
        "battery": Names(
            fields={
                "percent": To("hw.battery.charge", RATIO, by="C"),
                "seconds_left": To("hw.battery.time_left", by="C"),
                "plugged": To("hw.battery.plugged"),
            }
        ),
        "top": Names(
            tags={
                "process_name": To("process.executable.name", by="C"),
                "pid": To("process.pid", by="C"),
                "user": To("process.owner", by="C"),
            },
            fields={
                "cpu_share": To("process.cpu.utilization", RATIO, by="C"),
                "cpu_usage": LeftOut("`process.cpu.utilization`, times the number of CPUs"),
                "memory_rss": To("process.memory.usage", by="C"),
                "memory_vms": To("process.memory.virtual", by="C"),
                "memory_usage": To("process.memory.utilization", RATIO),
                "num_threads": To("process.thread.count", by="C"),
            },
        ),
        "users": Names(tags={"user": To("user.name", by="C")}, fields={"n_sessions": To("system.user.session.count")}),
    },
)
