"""What NAVER's agent says of a server as a whole: the record with the dimension `schema_type = "svr"`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from agent.collectors.host.naming.names import Also, rounded
from agent.collectors.host.readings import Fields, Row, Tags

SERVER: Tags = (("schema_type", "svr"),)
DISKS = ("read_byt_cnt", "write_byt_cnt", "read_cnt", "write_cnt")
INTERFACES = ("snd_bps", "rcv_bps", "snd_pps", "rcv_pps")
FAILED = ("snd_fail_packt_cnt", "rcv_fail_packt_cnt")


def largest_cpu(rows: list[Row]) -> list[Row]:
    """The rows, where that of the server has the use of the busiest CPU."""
    used = [row.fields["used_rto"] for row in rows if "used_rto" in row.fields]
    return [
        Row(row.source, row.tags, {**row.fields, "max_cpu_used_rto": max(used)}) if used and row.tags == SERVER else row
        for row in rows
    ]


def disks(rows: list[Row]) -> list[Row]:
    """The rows, and one over all whole disks: a partition's work is its disk's too."""
    names = {dict(row.tags)["disk_idx"] for row in rows}
    whole = [row for row in rows if not is_partition(dict(row.tags)["disk_idx"], names)]
    return _with_server(rows, _over(whole, DISKS, ("avg", "max")))


def interfaces(rows: list[Row]) -> list[Row]:
    """The rows, and one over all interfaces."""
    return _with_server(rows, _over(rows, INTERFACES, ("avg", "max")) | _over(rows, FAILED, ("avg",)))


def file_systems(rows: list[Row]) -> list[Row]:
    """The rows, and one over all file systems."""
    size, used, free, files, files_used = (
        sum(row.fields.get(name, 0) for row in rows)
        for name in ("all_byt_cnt", "used_byt_cnt", "free_byt_cnt", "ind_all_cnt", "ind_used_cnt")
    )
    fields: Fields = {}
    if used + free:
        fields |= {"fs_all_mb": rounded(size), "fs_used_mb": rounded(used), "fs_free_mb": rounded(free)}
        fields["avg_fs_usert"] = round(100 * used / (used + free), 4)
        fields["max_fs_usert"] = max(row.fields["fs_usert"] for row in rows)
    if files:
        fields["avg_ind_usert"] = round(100 * files_used / files, 4)
    return _with_server(rows, fields)


def is_partition(name: str, names: Iterable[str]) -> bool:
    """Is it a partition of another of these disks? `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`; not `dm-10` of `dm-1`."""
    return any(
        re.fullmatch(re.escape(disk) + ("p" if disk[-1:].isdecimal() else "") + r"\d+", name, re.ASCII)
        for disk in names
        if disk and disk != name
    )


def _over(rows: list[Row], names: Iterable[str], ways: Iterable[str]) -> Fields:
    """`avg_` and `max_` of each field that any row has."""
    fields: Fields = {}
    for name in names:
        values = [row.fields[name] for row in rows if name in row.fields]
        for way in ways if values else ():
            fields[f"{way}_{name}"] = WAYS[way](values)
    return fields


def _with_server(rows: list[Row], fields: Fields) -> list[Row]:
    return [*rows, Row(rows[0].source, SERVER, fields)] if fields else rows


WAYS: dict[str, Callable[[list[float]], float]] = {
    "avg": lambda values: rounded(sum(values) / len(values)),
    "max": max,
}


def says(names: Iterable[str], by: str, unit: str = "") -> tuple[Also, ...]:
    """What a summary adds, for the documentation."""
    return tuple(Also(name, unit, (), len, by) for name in names)
