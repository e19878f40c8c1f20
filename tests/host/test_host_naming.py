"""OpenTelemetry's and NAVER's names: every field has one, each group comes out as it should, rates survive resets."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from taking import OTHER, found, take

from agent.collectors.host import Host, diskio, memory, net, processes
from agent.collectors.host.cpu import usage
from agent.collectors.host.memory import PAGE
from agent.collectors.host.naming import NAMINGS, renamed
from agent.collectors.host.naming.catalog import FIELDS, TAGS
from agent.collectors.host.naming.names import LeftOut, To
from agent.collectors.host.naming.page import PAGE as FILE
from agent.collectors.host.naming.page import page
from agent.collectors.host.naming.renaming import rename
from agent.collectors.host.naming.server import is_partition
from agent.collectors.host.readings import Group, Reading, Row
from agent.collectors.host.sampling import Sampler

EXPECTED = json.loads((Path(__file__).parent / "names.json").read_text())
ALL = get_args(Group)


def names(naming, source):
    return NAMINGS[naming].groups[source.removeprefix("host.")]


def both(row, before, passed=10.0):
    """A row in both namings, with what it was ten seconds ago."""
    return {name: rename(row, names(name, row.source), before, passed) for name in NAMINGS}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("group", ALL)
def test_every_field_and_tag_of_telegrafs_has_an_entry_in_the_other_naming(naming, group):
    here = NAMINGS[naming].groups[group]
    if here.rest is None:
        for table in (here, *here.special.values()):
            assert table.fields.keys() == FIELDS[group].keys()
    assert here.tags.keys() == TAGS.get(group, {}).keys()


@pytest.mark.parametrize("host", [{"host_root": str(OTHER)}, {}], ids=["other machine", "this machine"])
def test_the_catalog_has_every_field_that_is_read(host):
    emission = take(Host(interval=0.1, groups=ALL, **host), ticks=3)
    for record in found(emission):
        group = record.source.removeprefix("host.")
        known = FIELDS[group].keys() if group != "cgroup" else record.fields.keys()
        assert record.fields.keys() <= known, group
        assert record.tags.keys() <= TAGS.get(group, {}).keys(), group
        for name, value in record.fields.items():
            if group != "cgroup":
                kinds = {"integer": (int,), "float": (int, float)}[FIELDS[group][name].type]
                assert type(value) in kinds, (group, name)


def test_the_catalog_has_every_field_that_any_machine_may_have():
    assert (
        memory.FIELDS.keys() | {"cached", "available", "available_percent", "used", "used_percent"}
        <= FIELDS["mem"].keys()
    )
    assert set(diskio.FIELDS) <= FIELDS["diskio"].keys()
    assert set(net.FIELDS.values()) | {"speed"} == FIELDS["net"].keys()
    assert set(processes.STATES.values()) | {"unknown", "total", "total_threads"} == FIELDS["processes"].keys()
    assert usage([0] * 10, [1] * 10).keys() <= FIELDS["cpu"].keys()
    assert FIELDS.keys() == set(ALL)


@pytest.mark.parametrize("naming", NAMINGS)
def test_no_two_fields_of_a_record_get_one_name_and_every_name_says_where_it_is_from(naming):
    for group, here in NAMINGS[naming].groups.items():
        for table in (here, *here.special.values()):
            taken = [to.name for to in table.fields.values() if isinstance(to, To)]
            taken += [also.name for also in (*table.also, *table.summed)]
            assert [name for name, count in Counter(taken).items() if count > 1] == [], group
            marks = [to.by for to in (*table.fields.values(), *table.tags.values()) if isinstance(to, To)]
            assert set(marks) <= {"", *NAMINGS[naming].sources}
            left_out = [to for to in table.fields.values() if isinstance(to, LeftOut)]
            assert all(to.why for to in left_out)


@pytest.mark.parametrize("group", ALL)
def test_each_group_comes_out_in_each_naming_as_the_table_says(group):
    """A record as Telegraf's naming has it, and the one before it, against what is written down in names.json."""
    for case in EXPECTED[group]:
        row = Row(f"host.{group}", tuple(case["tags"].items()), case["now"])
        for name, out in both(row, case.get("before")).items():
            expected = dict(case[name]["fields"])
            for key, value in expected.items():
                if key == "boot_time":  # as long ago as it is up
                    expected[key] = pytest.approx(time.time() - case["now"]["uptime"], abs=2)
                elif key.startswith("system.paging.operations"):  # written down for pages of 4 KiB
                    expected[key] = value * 4096 // PAGE
                else:
                    assert type(out.fields[key]) is type(value), key
            assert (out.source, dict(out.tags), dict(out.fields)) == (f"host.{group}", case[name]["tags"], expected)


def test_the_table_covers_every_field():
    for group in ALL:
        told = {name for case in EXPECTED[group] for name in case["now"]}
        assert told >= FIELDS[group].keys() or group == "cgroup", FIELDS[group].keys() - told


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_recorded_machine_comes_out_under_the_other_names(naming):
    plain = found(take(Host(host_root=str(OTHER), interval=0.05, groups=ALL), ticks=1))
    other = found(take(Host(host_root=str(OTHER), interval=0.05, groups=ALL, naming=naming), ticks=1))
    expected = [
        rename(Row(record.source, tuple(record.tags.items()), record.fields), names(naming, record.source), None, 0)
        for record in plain
    ]
    expected = [row for row in expected if row.fields]  # in the first tick some have nothing to say
    assert [row.source for row in expected] == [record.source for record in other]
    for row, record in zip(expected, other, strict=True):
        now = dict(row.fields)
        if "boot_time" in now:
            assert record.fields.pop("boot_time") == pytest.approx(now.pop("boot_time"), abs=5)
        assert (record.tags, record.fields) == (dict(row.tags), now)
    memory_of = {record.source: record.fields for record in other}["host.mem"]
    assert memory_of["system.memory.limit" if naming == "otel" else "mem_mb"] == (3 << 30 if naming == "otel" else 3072)


def counters(**changed):
    fields = dict.fromkeys(net.FIELDS.values(), 1000) | changed
    return Row("host.net", (("interface", "eth0"),), fields)


def test_a_counter_that_was_reset_costs_the_rates_of_one_tick_and_nothing_else():
    ticks = [
        counters(speed=100),
        counters(bytes_recv=7, packets_sent=4000, speed=100),
        counters(bytes_recv=9, packets_sent=4001, speed=100),
    ]
    (reading,) = renamed([Reading("net", "net", lambda: [ticks.pop(0)])], "ncloud")
    first, second, (third, server) = (list(reading.read()) for _ in range(3))
    assert [row.fields for row in (*first, *second)] == [{"nic_mbps": 100}] * 2
    assert third.fields["rcv_bps"] > 0
    assert third.fields["snd_bps"] == 0.0
    assert server.tags == (("schema_type", "svr"),)
    assert server.fields["avg_rcv_bps"] == server.fields["max_rcv_bps"] == third.fields["rcv_bps"]


def test_what_was_not_there_before_has_no_rates_yet_and_without_anything_to_say_no_record():
    other = Row("host.net", (("interface", "eth1"),), counters().fields)
    ticks = [[counters()], [counters(), other]]
    (reading,) = renamed([Reading("net", "net", lambda: ticks.pop(0))], "ncloud")
    assert list(reading.read()) == []
    assert [row.tags for row in reading.read()] == [(("nic_desc", "eth0"),), (("schema_type", "svr"),)]


def test_the_server_as_a_whole_is_told_of_its_disks_without_partitions_and_of_all_its_interfaces():
    def disk(name, read, written):
        return Row("host.diskio", (("disk_idx", name),), {"read_byt_cnt": read, "write_byt_cnt": written})

    groups = NAMINGS["ncloud"].groups
    rows = [disk("sda", 10.0, 0.0), disk("sda1", 10.0, 0.0), disk("dm-1", 0.0, 4.0), disk("dm-10", 2.0, 2.0)]
    *same, server = groups["diskio"].summary(rows)
    assert same == rows
    assert server.fields == {
        "avg_read_byt_cnt": 4.0, "max_read_byt_cnt": 10.0, "avg_write_byt_cnt": 2.0, "max_write_byt_cnt": 4.0,
    }  # fmt: skip
    cpus = [
        Row("host.cpu", (("schema_type", "svr"),), {"avg_cpu_used_rto": 30.0}),
        Row("host.cpu", (("cpu_idx", "0"),), {"used_rto": 10.0}),
        Row("host.cpu", (("cpu_idx", "1"),), {"used_rto": 50.0}),
    ]
    assert groups["cpu"].summary(cpus)[0].fields == {"avg_cpu_used_rto": 30.0, "max_cpu_used_rto": 50.0}
    assert groups["cpu"].summary(cpus)[1:] == cpus[1:]
    for group in ("cpu", "disk", "diskio", "net"):
        assert groups[group].summary([]) == []


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("sda1", True), ("sdaa", False), ("nvme0n1p2", True), ("nvme0n2", False), ("dm-10", False), ("mmcblk0p1", True)],
)
def test_partitions_are_told_from_disks(name, is_one):
    assert is_partition(name, {"sda", "nvme0n1", "dm-1", "mmcblk0", name}) is is_one


def test_file_systems_are_summed_up_only_where_all_of_them_answered():
    mib = 1 << 20

    def size(path, total, used):
        free = total - used
        return Row(
            "host.disk",
            (("path", path),),
            {
                "total": total * mib, "used": used * mib, "free": free * mib, "used_percent": 100 * used / total,
                "inodes_total": 100, "inodes_used": used, "inodes_free": 100 - used, "inodes_used_percent": used / 1.0,
            },
        )  # fmt: skip

    alive = threading.Event()
    alive.set()

    def filer():
        alive.wait(15)
        return [size("/mnt", 300, 90)]

    inner = [Reading("disk", "disk /", lambda: [size("/", 100, 50)]), Reading("disk", "disk /mnt", filer)]
    sampler = Sampler(renamed([Reading("disk", "disk", lambda: inner)], "ncloud"), 0.5)

    def server(sample):
        return [json.loads(fields) for _, tags, fields in sample.rows if tags == (("schema_type", "svr"),)]

    async def main():
        first = await sampler.sample()
        assert [dict(tags).get("mnt_nm") for _, tags, _ in first.rows] == ["/", "/mnt", None]
        assert server(first) == [
            {
                "fs_all_mb": 400.0, "fs_used_mb": 140.0, "fs_free_mb": 260.0, "avg_fs_usert": 35.0,
                "max_fs_usert": 50.0, "avg_ind_usert": 70.0,
            }
        ]  # fmt: skip
        alive.clear()
        second = await sampler.sample()
        assert set(second.failures) == {"disk /mnt"}
        assert server(second) == []
        assert len(second.rows) == 1
        alive.set()

    asyncio.run(main())


def test_under_telegrafs_names_nothing_of_this_is_loaded():
    program = (
        "import sys; from agent.collectors.host import Host; Host().readings(); "
        "print([name for name in sys.modules if 'naming' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.strip() == "[]"


def test_a_field_that_no_table_knows_keeps_its_name():
    for out in both(Row("host.mem", (), {"total": 1 << 20, "brand_new": 7}), None).values():
        assert out.fields["brand_new"] == 7


def test_the_rates_of_this_machine_are_those_of_its_counters():
    emission = take(Host(interval=0.3, naming="ncloud", groups=("cpu", "net", "diskio")), ticks=2)
    records = found(emission)
    shares = [record.fields for record in records if "cpu_idx" in record.tags]
    assert shares
    for fields in shares:
        assert fields["used_rto"] + fields["idle_rto"] == pytest.approx(100, abs=0.01)
    for record in records:
        assert all(value >= 0 for value in record.fields.values()), record
        assert not record.fields.keys() & {"bytes_recv", "reads"}


def test_pages_are_counted_in_the_size_they_have():
    out = both(Row("host.swap", (), {"in": 3 * PAGE, "out": 0}), {"in": 0, "out": 0}, passed=2.0)
    assert out["otel"].fields == {"system.paging.operations.in": 3, "system.paging.operations.out": 0}
    assert out["ncloud"].fields["swap_in_mb"] == round(1.5 * PAGE / (1 << 20), 4)


def test_the_page_of_the_documentation_is_current():
    assert FILE.read_text(encoding="utf-8") == page(), "run python -m agent.collectors.host.naming.page"
