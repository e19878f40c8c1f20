"""What each field is, under the name it has in Telegraf: its type, its unit, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agent.collectors.host.cpu import STATES
from agent.collectors.host.readings import Group

WHOLE, REAL = "integer", "float"


class Field(NamedTuple):
    """A field of Telegraf's."""

    type: str
    unit: str
    meaning: str


def _bytes(meaning: str) -> Field:
    return Field(WHOLE, "B", meaning)


def _count(meaning: str) -> Field:
    return Field(WHOLE, "", meaning)


def _percent(meaning: str) -> Field:
    return Field(REAL, "%", meaning)


FIELDS: Mapping[Group, Mapping[str, Field]] = {
    "cpu": {
        **{f"usage_{state}": _percent("of the time since the last tick") for state in (*STATES, "active")},
        **{f"time_{state}": Field(REAL, "s", "since boot, a counter") for state in (*STATES, "active")},
    },
    "load": {f"load{n}": Field(REAL, "", f"processes that want to run, mean of {n} min") for n in (1, 5, 15)},
    "mem": {
        "total": _bytes("all memory"),
        "available": _bytes("what can be had without swapping"),
        "available_percent": _percent("`available` of `total`"),
        "used": _bytes("`total` less `available`"),
        "used_percent": _percent("`used` of `total`"),
        "free": _bytes("used for nothing"),
        "cached": _bytes("page cache, with what of slab can be reclaimed"),
        "buffered": _bytes("block device buffers"),
        "active": _bytes("used of late"),
        "inactive": _bytes("not used of late"),
        "shared": _bytes("shared memory and tmpfs"),
        "slab": _bytes("the kernel's own caches"),
        "sreclaimable": _bytes("of `slab`, what can be reclaimed"),
        "sunreclaim": _bytes("of `slab`, what cannot"),
        "dirty": _bytes("to be written to disk"),
        "write_back": _bytes("being written to disk"),
        "write_back_tmp": _bytes("being written to disk by FUSE"),
        "mapped": _bytes("files mapped into memory"),
        "page_tables": _bytes("page tables"),
        "commit_limit": _bytes("how much may be promised"),
        "committed_as": _bytes("how much is promised"),
        "huge_page_size": _bytes("size of a huge page"),
        "huge_pages_total": _count("huge pages"),
        "huge_pages_free": _count("huge pages not in use"),
        "swap_total": _bytes("all swap"),
        "swap_free": _bytes("swap used for nothing"),
        "swap_cached": _bytes("in swap and in memory"),
        "vmalloc_total": _bytes("kernel address space"),
        "vmalloc_used": _bytes("of it used"),
        "vmalloc_chunk": _bytes("of it the largest free piece"),
        "high_total": _bytes("high memory (32 bit)"),
        "high_free": _bytes("high memory used for nothing (32 bit)"),
        "low_total": _bytes("low memory (32 bit)"),
        "low_free": _bytes("low memory used for nothing (32 bit)"),
        "wired": _bytes("that stays in memory (macOS, BSD)"),
    },
    "swap": {
        "total": _bytes("all swap"),
        "used": _bytes("swap in use"),
        "free": _bytes("swap used for nothing"),
        "used_percent": _percent("`used` of `total`"),
        "in": _bytes("read from swap since boot, a counter"),
        "out": _bytes("written to swap since boot, a counter"),
    },
    "disk": {
        "total": _bytes("size of the file system"),
        "used": _bytes("used"),
        "free": _bytes("free to all; what is reserved for root is neither used nor free"),
        "used_percent": _percent("`used` of `used` and `free`, as `df` has it"),
        "inodes_total": _count("how many files there may be"),
        "inodes_used": _count("how many there are"),
        "inodes_free": _count("how many more there may be"),
        "inodes_used_percent": _percent("`inodes_used` of `inodes_total`"),
    },
    "diskio": {
        "reads": _count("read requests since boot, a counter"),
        "writes": _count("write requests since boot, a counter"),
        "read_bytes": _bytes("read since boot, a counter"),
        "write_bytes": _bytes("written since boot, a counter"),
        "read_time": Field(WHOLE, "ms", "that all reads took together, a counter"),
        "write_time": Field(WHOLE, "ms", "that all writes took together, a counter"),
        "merged_reads": _count("read requests merged into others, a counter"),
        "merged_writes": _count("write requests merged into others, a counter"),
        "io_time": Field(WHOLE, "ms", "in which the device was busy, a counter"),
        "weighted_io_time": Field(WHOLE, "ms", "that requests waited or were served, a counter"),
        "iops_in_progress": _count("requests under way"),
        "io_util": _percent("of the time since the last tick in which the device was busy"),
        "io_await": Field(REAL, "ms", "that a request took since the last tick; not there where there were none"),
        "io_svctm": Field(REAL, "ms", "that the device was busy for a request since the last tick; likewise"),
    },
    "net": {
        "bytes_recv": _bytes("received, a counter"),
        "bytes_sent": _bytes("sent, a counter"),
        "packets_recv": _count("packets received, a counter"),
        "packets_sent": _count("packets sent, a counter"),
        "err_in": _count("packets received with errors, a counter"),
        "err_out": _count("packets not sent for errors, a counter"),
        "drop_in": _count("packets received and dropped, a counter"),
        "drop_out": _count("packets dropped instead of sent, a counter"),
        "speed": Field(WHOLE, "Mbit/s", "of the link, where it has one"),
    },
    "system": {
        "uptime": Field(WHOLE, "s", "since boot"),
        "n_cpus": _count("CPUs that are on line"),
        "n_physical_cpus": _count("cores"),
        "n_users": _count("logins"),
        "n_unique_users": _count("different users that are logged in"),
    },
    "processes": {
        "total": _count("processes"),
        "running": _count("that run, or want to"),
        "sleeping": _count("that wait"),
        "blocked": _count("that wait and cannot be interrupted: for a disk"),
        "zombies": _count("that ended and were not yet asked for"),
        "stopped": _count("that are stopped or traced"),
        "dead": _count("that are being removed"),
        "paging": _count("that are being paged (before Linux 2.6)"),
        "idle": _count("idle threads of the kernel"),
        "parked": _count("parked threads of the kernel"),
        "unknown": _count("in any other state"),
        "total_threads": _count("threads"),
    },
    "pressure": {
        **{f"avg{n}": _percent(f"of the last {n} s in which work was held up") for n in (10, 60, 300)},
        "total": Field(WHOLE, "µs", "in which work was held up since boot, a counter"),
    },
    "cgroup": {
        "memory.current": _bytes("used by the group"),
        "memory.peak": _bytes("the most it ever used"),
        "memory.max": _bytes("the limit, where there is one; likewise `memory.high`, `memory.swap.max`"),
        "memory.swap.current": _bytes("of swap"),
        "memory.events.oom_kill": _count("killed for want of memory, a counter; likewise the other events"),
        "cpu.stat.usage_usec": Field(WHOLE, "µs", "of CPU, a counter; likewise the others of `cpu.stat`"),
        "cpu.max.0": Field(WHOLE, "µs", "of CPU it may use in each period `cpu.max.1`, where there is a limit"),
        "io.stat.259:0.rbytes": _bytes("read from the device 259:0, a counter; likewise the others of `io.stat`"),
        "pids.current": _count("processes and threads; `pids.max`: how many there may be, where there is a limit"),
    },
    "temperature": {
        "current": Field(REAL, "°C", "now"),
        "high": Field(REAL, "°C", "where the chip calls it high, if it says so"),
        "critical": Field(REAL, "°C", "where the chip calls it critical, if it says so"),
    },
    "fan": {"rpm": Field(WHOLE, "1/min", "turns")},
    "battery": {
        "percent": _percent("how full"),
        "seconds_left": Field(WHOLE, "s", "until it is empty, while it empties and that is known"),
        "plugged": _count("1: on mains, 0: not; not there where that is not known"),
    },
    "top": {
        "cpu_usage": _percent("of one CPU since the last tick: may be over 100"),
        "cpu_share": _percent("of all CPUs since the last tick"),
        "memory_rss": _bytes("in memory"),
        "memory_usage": _percent("`memory_rss` of all memory"),
        "memory_vms": _bytes("of address space"),
        "num_threads": _count("threads"),
    },
    "users": {"n_sessions": _count("logins of that user")},
}

TAGS: Mapping[Group, Mapping[str, str]] = {
    "cpu": {"cpu": "`cpu0` and so on; `cpu-total`: all together"},
    "disk": {"path": "where it is mounted", "device": "what", "fstype": "the file system", "mode": "`rw` or `ro`"},
    "diskio": {"name": "the device"},
    "net": {"interface": "the interface"},
    "pressure": {"resource": "`cpu`, `memory` or `io`", "type": "`some` or `full`: some processes wait, or all"},
    "cgroup": {"path": "the group"},
    "temperature": {
        "chip": "the driver's name for the chip",
        "device": "whose chip it is, where that is known",
        "label": "the sensor",
    },
    "fan": {"chip": "the driver's name", "device": "whose chip it is, where that is known", "label": "the fan"},
    "top": {"process_name": "as the kernel has it, 15 bytes", "pid": "its number", "user": "whose it is"},
    "users": {"user": "who"},
}
