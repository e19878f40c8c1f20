"""
`preset = "host"`: one row a minute about the machine as a whole, out of the host collector's records.

Its metrics have the names under which NAVER's own agent shows a server, where it has one. They are the same
whether the collector's naming is Telegraf's or NAVER's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from agent.ports import Collector
from agent.sinks.cloud_insight.feeds import Measure, Origin, Table
from agent.sinks.cloud_insight.schema import Across, DataType, Fixed, Function, Schema
from agent.units import format_duration

HOST = "host"
PRODUCT = "Custom/Host"  # what its schema is called unless told otherwise
MIB = 1 << 20

# Whole disks: a partition's work is its disk's too, and a mapped device's that of the disks below it.
DISKS = (
    "sd[a-z]", "sd[a-z][a-z]", "vd[a-z]", "vd[a-z][a-z]", "xvd[a-z]", "xvd[a-z][a-z]", "hd[a-z]", "nvme*n[0-9]",
    "nvme*n[0-9][0-9]", "mmcblk[0-9]", "dasd[a-z]", "nbd[0-9]", "disk[0-9]", "disk[0-9][0-9]",
)  # fmt: skip


def host(cw_key: str | int, name: str = "") -> Table:
    """The table of the preset, for the schema of that key."""
    dimensions: dict[str, str | Fixed] = {"host": "host"}
    schema = Schema(cw_key=cw_key, name=name or "preset host", select=("host.*",), dimensions=dimensions, metrics={})
    return Table(schema, _MEASURES, picks=True)


def doubts(collectors: Mapping[str, tuple[str, Collector]], rollup: float) -> Iterator[str]:
    """What its rows will lack, given these collectors: name -> type and collector."""
    # Their options are read without their class: sinks know no collectors.
    hosts: dict[str, Any] = {f"collectors.{name}": each for name, (kind, each) in collectors.items() if kind == HOST}
    if not hosts:
        yield "there is no collector of type host: its rows have nothing to be made of"
        return
    for name, each in hosts.items():
        if each.naming == "otel":
            yield f'it finds nothing in what {name} gives under naming = "otel": expected "telegraf" or "ncloud"'
    read = {name: each for name, each in hosts.items() if each.naming != "otel"}
    given = {source for each in read.values() for source in _gives(each)}
    if read and (empty := [each for each in _MEASURES if given.isdisjoint(_sources(each))]):
        groups = dict.fromkeys(source.removeprefix("host.") for each in empty for source in _sources(each))
        yield f"the groups of {' and '.join(read)} lack {', '.join(groups)}: {_names(empty)} stay empty"
    for name, each in read.items():
        # Under NAVER's names the collector has made the rates already.
        rates = [rate for rate in _rates() if each.naming == "telegraf" and not _gives(each).isdisjoint(_sources(rate))]
        found, every = format_duration(each.interval), format_duration(rollup)
        if rates and 2 * each.interval > rollup:
            most = format_duration(rollup / 2)
            text = f"expected at most {most} as the interval of {name}, found {found}"
            yield f"{text}: two samples in every {every} make a rate, without which {_names(rates)} stay empty"
        elif each.interval > rollup:
            yield f"expected at most {every} as the interval of {name}, found {found}: there are rows missing between"


def _gives(host: Any) -> set[str]:
    return {f"host.{group}" for group in host.groups}


def _sources(measure: Measure) -> set[str]:
    return {source for origin in measure.origins for source in origin.source}


def _rates() -> list[Measure]:
    return [each for each in _MEASURES if any(origin.rollup == "rate" for origin in each.origins)]


def _names(measures: list[Measure]) -> str:
    return ", ".join(each.name for each in measures)


def _gauge(
    name: str,
    group: str,
    desc: str,
    field: str,
    theirs: str = "",
    *,
    tags: tuple[str, str, tuple[str, ...]] | None = None,
    rollup: Function = "avg",
    across: Across = "max",
    type: DataType = "FLOAT",
    scale: float = 1.0,
    also: tuple[Origin, ...] = (),
) -> Measure:
    """
    A metric out of `field` under Telegraf's names, out of `theirs` (else of the metric's own name) under NAVER's.

    `tags`: the tag that tells the instance under either naming, and which instances count.
    """
    here: Mapping[str, tuple[str, ...]] = {tags[0]: tags[2]} if tags else {}
    there: Mapping[str, tuple[str, ...]] = {tags[1]: tags[2]} if tags and tags[1] else {}
    source = (f"host.{group}",)
    convert = None if scale == 1.0 else lambda ts, value: value * scale
    kind: Literal["avg", "max", "min", "last", "sum"] = "avg" if rollup == "rate" else rollup
    origins = (
        Origin(field, source, here, rollup, convert),
        *(also or (Origin(theirs or name, source, there, kind),)),
    )
    return Measure(name, origins, across, type, desc)


def _cpu(name: str, field: str, desc: str) -> Measure:
    return _gauge(name, "cpu", desc, field, tags=("cpu", "", ("cpu-total",)))


def _mib(name: str, group: str, desc: str, field: str, theirs: str = "", *, across: Across = "max") -> Measure:
    return _gauge(name, group, desc, field, theirs, scale=1 / MIB, across=across)


def _booted(ts: int, since: float) -> float:
    return ts // 1000 - since


_MEASURES = (
    _cpu("avg_cpu_used_rto", "usage_active", "CPU used, %"),
    _cpu("avg_cpu_user_rto", "usage_user", "CPU in user mode, %"),
    _cpu("avg_cpu_sys_rto", "usage_system", "CPU in the kernel, %"),
    _cpu("avg_io_wait_rto", "usage_iowait", "CPU idle for waiting on I/O, %"),
    _cpu("avg_steal_rto", "usage_steal", "CPU taken by the hypervisor, %"),
    _gauge("load_average_1m", "load", "Load average of 1 minute", "load1"),
    _gauge("load_average_5m", "load", "Load average of 5 minutes", "load5"),
    _gauge("load_average_15m", "load", "Load average of 15 minutes", "load15"),
    _gauge("mem_usert", "mem", "Memory used, %", "used_percent"),
    _mib("mem_mb", "mem", "Memory, MiB", "total"),
    _mib("used_mem_mb", "mem", "Memory used, MiB", "used"),
    _mib("avail_mem_mb", "mem", "Memory available, MiB", "available"),
    _gauge("swap_usert", "swap", "Swap used, %", "used_percent"),
    _mib("swap_used_mb", "swap", "Swap used, MiB", "used"),
    _gauge("max_fs_usert", "disk", "The fullest file system, % used", "used_percent", "fs_usert"),
    _gauge("max_ind_usert", "disk", "The file system fullest of files, % used", "inodes_used_percent", "ind_usert"),
    _mib("fs_all_mb", "disk", "All file systems, MiB", "total", "all_byt_cnt", across="sum"),
    _mib("fs_used_mb", "disk", "Used in all file systems, MiB", "used", "used_byt_cnt", across="sum"),
    _gauge("rcv_bps", "net", "Received, bit/s", "bytes_recv", rollup="rate", across="sum", scale=8),
    _gauge("snd_bps", "net", "Sent, bit/s", "bytes_sent", rollup="rate", across="sum", scale=8),
    _gauge(
        "rcv_fail_packt_cnt", "net", "Packets with errors received, 1/min", "err_in", rollup="rate", across="sum",
        scale=60,
    ),
    _gauge(
        "snd_fail_packt_cnt", "net", "Packets with errors sent, 1/min", "err_out", rollup="rate", across="sum",
        scale=60,
    ),
    _gauge(
        "read_byt_cnt", "diskio", "Read from disks, B/s", "read_bytes", tags=("name", "disk_idx", DISKS),
        rollup="rate", across="sum",
    ),
    _gauge(
        "write_byt_cnt", "diskio", "Written to disks, B/s", "write_bytes", tags=("name", "disk_idx", DISKS),
        rollup="rate", across="sum",
    ),
    _gauge("max_disk_used_rto", "diskio", "The busiest disk, % of the time", "io_util", "used_rto"),
    _gauge("proc_cnt", "processes", "Processes", "total", type="LONG"),
    _gauge("blocked_proc_cnt", "processes", "Processes that wait for I/O", "blocked", type="LONG"),
    _gauge("zombies_proc_cnt", "processes", "Processes that have ended and were not reaped", "zombies", type="LONG"),
    _gauge("login_cnt", "system", "Logged in", "n_users", type="LONG"),
    _gauge(
        "uptime", "system", "Seconds since the machine was started", "uptime", rollup="last", type="LONG",
        also=(Origin("boot_time", ("host.system",), {}, "last", _booted),),
    ),
)  # fmt: skip
