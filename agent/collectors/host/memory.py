"""`host.mem` and `host.swap`: how memory is used, in bytes."""

from __future__ import annotations

import os
import re

from agent.collectors.host.readings import Fields
from agent.collectors.host.tree import share

PAGE = os.sysconf("SC_PAGE_SIZE")
MEMINFO_LINE = re.compile(rb"^([\w()]+):[ \t]+(\d+)( kB)?", re.MULTILINE | re.ASCII)
PAGED = re.compile(rb"^pswp(in|out) (\d+)$", re.MULTILINE)

# What /proc/meminfo says as it is. What a kernel does not have (high memory on 64 bit) is left out.
FIELDS = {
    "active": "Active",
    "buffered": "Buffers",
    "commit_limit": "CommitLimit",
    "committed_as": "Committed_AS",
    "dirty": "Dirty",
    "free": "MemFree",
    "high_free": "HighFree",
    "high_total": "HighTotal",
    "huge_page_size": "Hugepagesize",
    "huge_pages_free": "HugePages_Free",
    "huge_pages_total": "HugePages_Total",
    "inactive": "Inactive",
    "low_free": "LowFree",
    "low_total": "LowTotal",
    "mapped": "Mapped",
    "page_tables": "PageTables",
    "shared": "Shmem",
    "slab": "Slab",
    "sreclaimable": "SReclaimable",
    "sunreclaim": "SUnreclaim",
    "swap_cached": "SwapCached",
    "swap_free": "SwapFree",
    "swap_total": "SwapTotal",
    "total": "MemTotal",
    "vmalloc_chunk": "VmallocChunk",
    "vmalloc_total": "VmallocTotal",
    "vmalloc_used": "VmallocUsed",
    "write_back": "Writeback",
    "write_back_tmp": "WritebackTmp",
}


def meminfo(raw: bytes) -> dict[str, int]:
    """/proc/meminfo: bytes, but for the counts of huge pages. Raises ValueError."""
    found = {
        name.decode("ascii"): int(value) * (1024 if unit else 1) for name, value, unit in MEMINFO_LINE.findall(raw)
    }
    if "MemTotal" not in found:
        raise ValueError("no MemTotal in /proc/meminfo")
    return found


def memory(info: dict[str, int]) -> Fields:
    """The fields of `host.mem`."""
    fields: Fields = {name: info[key] for name, key in FIELDS.items() if key in info}
    total, free = info["MemTotal"], info.get("MemFree", 0)
    cached = info.get("Cached", 0) + info.get("SReclaimable", 0)
    available = info.get("MemAvailable", free + info.get("Buffers", 0) + cached)  # kernels before 3.14
    # More than there is: seen in LXC, where total is the container's and the rest the host's.
    available = free if available > total else available
    used = max(0, total - available)
    fields |= {"cached": cached, "available": available, "available_percent": share(available, total)}
    return fields | {"used": used, "used_percent": share(used, total)}  # as Telegraf counts it since 1.36


def swap(info: dict[str, int], vmstat: bytes) -> Fields:
    """The fields of `host.swap`; `in` and `out` are bytes since boot."""
    total, free = info.get("SwapTotal", 0), info.get("SwapFree", 0)
    used = max(0, total - free)
    return {"total": total, "free": free, "used": used, "used_percent": share(used, total)} | {
        name.decode("ascii"): int(pages) * PAGE for name, pages in PAGED.findall(vmstat)
    }
