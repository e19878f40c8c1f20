"""The records of the machine the tests run on, against its /proc read another way, and against psutil."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from taking import found, only, take

from agent.collectors.host import Host

pytestmark = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def emission():
    return take(Host(interval=0.2), ticks=3)


def near(value, other, share=0.05):
    return math.isclose(value, other, rel_tol=share, abs_tol=1)


def test_every_group_that_this_kernel_has_is_there(emission):
    sources = {record.source for record in found(emission)}
    expected = {"host.cpu", "host.load", "host.mem", "host.swap", "host.net", "host.system", "host.processes"}
    if Path("/proc/pressure/cpu").exists():
        expected.add("host.pressure")
    assert expected <= sources


def test_cpu_shares_are_of_the_whole(emission):
    cpus = {record.tags["cpu"]: record.fields for record in found(emission, "host.cpu")}
    assert "cpu-total" in cpus
    assert set(cpus) <= {"cpu-total", *(f"cpu{n}" for n in range(os.cpu_count()))}
    for fields in cpus.values():
        usages = {name: value for name, value in fields.items() if name.startswith("usage_")}
        assert all(0 <= value <= 100 for value in usages.values())
        assert sum(usages.values()) - usages["usage_active"] == pytest.approx(100, abs=0.01)
        assert usages["usage_active"] + usages["usage_idle"] == pytest.approx(100, abs=0.01)
    assert near(cpus["cpu-total"]["time_idle"], psutil.cpu_times().idle)


def test_a_busy_cpu_is_seen():
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        try:
            emission = take(Host(interval=0.3, groups=("cpu",), per_cpu=False), ticks=2)
        finally:
            busy.kill()
    (record,) = found(emission, "host.cpu")
    assert record.tags == {"cpu": "cpu-total"}
    assert record.fields["usage_active"] > 40 / os.cpu_count()


def test_memory_is_what_free_and_psutil_say(emission):
    mem, swap = only(emission, "host.mem"), only(emission, "host.swap")
    theirs = psutil.virtual_memory()
    assert mem["total"] == theirs.total
    assert near(mem["available"], theirs.available)
    assert mem["used"] + mem["available"] == mem["total"]
    assert mem["used_percent"] + mem["available_percent"] == pytest.approx(100, abs=0.01)
    assert swap["total"] == psutil.swap_memory().total


def test_disks_are_what_df_says(emission):
    shown = {record.tags["path"]: record for record in found(emission, "host.disk")}
    if not shown:
        pytest.skip("no file system of its own in this container")
    for path, record in shown.items():
        line = subprocess.run(["df", "-PB1", path], capture_output=True, text=True, check=True).stdout.splitlines()[1]
        device, total, used, free, percent, mount = line.split()
        assert mount == path
        assert record.fields["total"] == int(total)
        assert near(record.fields["used"], int(used))
        assert near(record.fields["free"], int(free))
        assert record.fields["used_percent"] == pytest.approx(float(percent.rstrip("%")), abs=1.01)
        assert device in {f"/dev/{record.tags['device']}", record.tags["device"]}
        assert record.tags["mode"] in {"ro", "rw"}
        assert record.fields["inodes_used"] + record.fields["inodes_free"] == record.fields["inodes_total"]


def test_block_devices_are_what_psutil_says():
    before = psutil.disk_io_counters(perdisk=True)
    emission = take(Host(interval=0.2, groups=("diskio", "load")))
    after = psutil.disk_io_counters(perdisk=True)
    for record in found(emission, "host.diskio"):
        one, other = before[record.tags["name"]], after[record.tags["name"]]
        assert one.read_count <= record.fields["reads"] <= other.read_count
        assert one.write_bytes <= record.fields["write_bytes"] <= other.write_bytes
        assert one.busy_time <= record.fields["io_time"] <= other.busy_time


def test_interfaces_are_what_sys_says():
    def bytes_received():
        return {path.name: int((path / "statistics/rx_bytes").read_text()) for path in Path("/sys/class/net").iterdir()}

    before = bytes_received()
    emission = take(Host(interval=0.2, groups=("net", "load")))
    after = bytes_received()
    for record in found(emission, "host.net"):
        name = record.tags["interface"]
        assert before[name] <= record.fields["bytes_recv"] <= after[name]
    assert "lo" not in {record.tags["interface"] for record in found(emission, "host.net")}


def test_a_named_interface_is_reported_whatever_the_defaults_leave_out():
    (record,) = found(take(Host(interval=0.2, groups=("net",), interfaces=("lo",))), "host.net")
    assert record.tags == {"interface": "lo"}


def test_system_is_what_nproc_and_uptime_say(emission):
    system = only(emission, "host.system")
    assert system["uptime"] == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=30)
    assert system["n_cpus"] == len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    assert 1 <= system["n_physical_cpus"] <= system["n_cpus"]
    assert only(emission, "host.load").keys() == {"load1", "load5", "load15"}


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_processes_are_what_ps_says(emission):
    fields = only(emission, "host.processes")
    states = Counter(subprocess.run(["ps", "axo", "s="], capture_output=True, text=True, check=True).stdout.split())
    # Others start and end processes meanwhile.
    assert fields["total"] == pytest.approx(sum(states.values()), abs=25)
    assert fields["idle"] == pytest.approx(states["I"], abs=10)
    assert fields["total"] == sum(value for name, value in fields.items() if not name.startswith("total"))
    assert fields["total_threads"] >= fields["total"]


def test_pressure_is_between_nothing_and_all(emission):
    for record in found(emission, "host.pressure"):
        assert all(0 <= record.fields[name] <= 100 for name in ("avg10", "avg60", "avg300"))
        assert isinstance(record.fields["total"], int)


def test_counters_are_integers_and_nothing_is_null(emission):
    for record in found(emission):
        for name, value in record.fields.items():
            assert type(value) in (int, float), (record.source, name)
            fraction = name.startswith(("usage_", "time_", "load", "avg", "io_")) or name.endswith("_percent")
            if not fraction or name == "io_time":
                assert type(value) is int, (record.source, name)


@pytest.mark.skipif(not Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="needs cgroup v2")
def test_the_own_control_group_is_reported(emission):
    (record,) = found(emission, "host.cgroup")
    assert Path(record.tags["path"]).is_dir()
    assert record.fields["cpu.stat.usage_usec"] > 0


def test_a_sidecar_reports_the_hosts_disks_without_the_prefix(tmp_path):
    program = f"""
import os, sys
from agent.collectors.host import Host
(disk,) = Host(groups=("disk",), host_root={str(tmp_path)!r}).readings()
for reading in disk.read():
    for row in reading.read():
        print(dict(row.tags)["path"], row.fields["total"])
"""
    mounting = f'mount --rbind / {tmp_path} && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounting, sys.executable, program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"no mounts of its own here: {refused}")
    here = take(Host(interval=0.2, groups=("disk", "load")))
    expected = {f"{record.tags['path']} {record.fields['total']}" for record in found(here, "host.disk")}
    assert set(done.stdout.splitlines()) == expected
