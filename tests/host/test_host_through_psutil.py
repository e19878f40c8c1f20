"""Metrics through psutil against metrics through /proc: of a recorded machine to the digit, of this one nearly."""

import asyncio
import shutil
import time
from pathlib import Path

import orjson
import psutil
import pytest
from taking import OTHER, PATIENCE

from agent.collectors.host import Host
from agent.collectors.host.disk import Mount
from agent.collectors.host.filters import Filter
from agent.collectors.host.linux import Linux, put_back
from agent.collectors.host.machine import readings
from agent.collectors.host.net import Net
from agent.collectors.host.sampling import Sampler
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.tree import Tree

pytestmark = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs /proc")

ALL = Filter.of((), ())
EVERY = {"per_cpu": True, "mounts": ALL, "fstypes": ALL, "interfaces": ALL, "devices": ALL, "top_processes": 5}
GROUPS = Host().groups

# How far a value may lie outside of what was read just before and just after: by so much of it, and so much beside.
# A counter lies between the two; what is not named here is a counter.
MIB = 1 << 20
MOVING = {
    "host.cpu time_": (0, 0.05),  # idle and iowait run backwards at times
    "host.cpu usage_": (0, 100),
    "host.load": (0, 0.5),
    "host.mem": (0.05, 32 * MIB),
    "host.swap": (0.05, 32 * MIB),
    "host.disk": (0.02, 32 * MIB),
    "host.diskio io_": (0, 100),
    "host.diskio iops_in_progress": (0, 100),
    "host.system uptime": (0, 1),
    "host.system n_users": (0, 1),
    "host.processes": (0.1, 25),
    "host.pressure avg": (0, 20),
    "host.cgroup memory": (0.1, 64 * MIB),
    "host.cgroup pids": (0.1, 25),
}


def tick(sampler):
    """What one tick gives, by source and tags, after every CPU has spent some time: the kernel counts it at 100 Hz."""
    proc = ThroughProc(Tree(), ())
    before, until = proc.times(per_cpu=True), time.monotonic() + PATIENCE
    while any(sum(now) <= sum(before[cpu]) for cpu, now in proc.times(per_cpu=True).items()):
        assert time.monotonic() < until
        time.sleep(0.002)
    sample = asyncio.run(sampler.sample())
    assert sample.failures == {}
    return {(source, tags): orjson.loads(fields) for source, tags, fields in sample.rows}


def sampler(machine):
    return Sampler(readings(machine, GROUPS, **EVERY), 10)


@pytest.fixture(scope="module")
def ticks():
    """The second tick of /proc, then that of psutil, then the third of /proc."""
    proc = ThroughProc(Tree(), ())
    alone, here = sampler(proc), sampler(Linux(ThroughProc(Tree(), ())))
    tick(alone), tick(here)
    return tick(alone), tick(here), tick(alone)


def test_both_ways_give_the_same_records_with_the_same_fields_of_the_same_type(ticks):
    before, here, after = ticks
    kept = before.keys() & after.keys()
    assert {source for source, _ in kept} >= {"host.cpu", "host.mem", "host.swap", "host.net", "host.system"}
    assert kept <= here.keys() <= before.keys() | after.keys()
    for record in kept:
        # Where nothing was done meanwhile there is no time per request.
        idle = {"io_await", "io_svctm"} if record[0] == "host.diskio" else set()
        assert here[record].keys() | idle == before[record].keys() | idle, record
        types = {name: type(value) for name, value in before[record].items()}
        assert {name: type(here[record].get(name, types[name](0))) for name in types} == types, record


def test_both_ways_give_the_same_values(ticks):
    before, here, after = ticks
    for record in before.keys() & here.keys() & after.keys():
        for name in before[record].keys() & here[record].keys() & after[record].keys():
            low, high = sorted((before[record][name], after[record][name]))
            said = f"{record[0]} {name}"
            share, beside = next((slack for start, slack in MOVING.items() if said.startswith(start)), (0, 0))
            slack = share * abs(high) + beside
            assert low - slack <= here[record][name] <= high + slack, (record, name)
            if name.endswith("percent"):
                assert 0 <= here[record][name] <= 100


@pytest.fixture
def other(tmp_path, monkeypatch):
    """The recorded machine, to which psutil is pointed too."""
    copy = Path(shutil.copytree(OTHER, tmp_path / "other"))
    shutil.copytree(copy / "proc/1", copy / "proc/self")
    shutil.copytree(copy / "proc/1/net", copy / "proc/net")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(copy / "proc"))
    return copy


@pytest.fixture
def proc(other):
    return ThroughProc(Tree(str(other)), ())


@pytest.fixture
def linux(proc):
    return Linux(proc)


def test_of_a_recorded_machine_both_say_the_same_to_the_digit(linux, proc):
    assert linux.times(per_cpu=True) == proc.times(per_cpu=True)
    assert linux.times(per_cpu=False) == proc.times(per_cpu=False)
    assert linux.memory() == proc.memory()
    assert linux.swap() == proc.swap()
    assert linux.blocks(ALL) == proc.blocks(ALL)
    assert linux.interfaces() == proc.interfaces()


def test_what_both_know_is_psutils(other):
    for name, old, new in [
        ("meminfo", "262144", "262145"),
        ("meminfo", "512 kB", "513 kB"),
        (
            "diskstats",
            "sdb 1000 100 80000 2500 2000 200 160000 7500 3",
            "sdb 1001 100 80000 2500 2000 200 160000 7500 4",
        ),
    ]:
        file = other / "proc" / name
        file.write_text(file.read_text().replace(old, new))
    linux = Linux(ThroughProc(Tree(str(OTHER)), ()))  # psutil reads what was changed, /proc is as it was
    assert (linux.memory()["free"], linux.memory()["dirty"]) == (262145 << 10, 512 << 10)
    assert (linux.blocks(ALL)["sdb"]["reads"], linux.blocks(ALL)["sdb"]["iops_in_progress"]) == (1001, 3)


def test_cpus_that_are_off_line_do_not_rename_the_others(linux, other):
    stat = other / "proc/stat"
    stat.write_text(
        "".join(line for line in stat.read_text().splitlines(True) if not line.startswith(("cpu1", "cpu4")))
    )
    (other / "sys/devices/system/cpu/online").write_text("0,2-3,5\n")
    assert list(linux.times(per_cpu=True)) == ["cpu-total", "cpu0", "cpu2", "cpu3", "cpu5"]
    assert linux.times(per_cpu=True)["cpu5"][0] == 10200


def test_a_containers_cpus_are_counted_where_sys_is_the_hosts(linux, other):
    (other / "sys/devices/system/cpu/online").write_text("0-63\n")
    assert list(linux.times(per_cpu=True))[-1] == "cpu5"


def test_pages_have_the_size_that_they_have_here(linux, monkeypatch):
    monkeypatch.setattr("agent.collectors.host.memory.PAGE", 65536)
    assert (linux.swap()["in"], linux.swap()["out"]) == (321 * 65536, 654 * 65536)


def test_counters_that_were_reset_are_not_made_to_grow(linux, other):
    device = other / "proc/diskstats"
    before = linux.blocks(ALL)["sdb"]["reads"]
    device.write_text(device.read_text().replace("sdb 1000 ", "sdb 7 "))
    network = other / "proc/net/dev"
    linux.interfaces()
    network.write_text(network.read_text().replace("7700000", "77"))
    assert (before, linux.blocks(ALL)["sdb"]["reads"]) == (1000, 7)
    assert linux.interfaces()["ens7"]["bytes_recv"] == 77


def test_disks_are_called_as_in_the_machines_own_table_whatever_this_service_sees(linux, other):
    (other / "proc/1/mounts").write_text(
        "/dev/root / ext4 rw 0 0\n/dev/sdb1 /srv/my\\040data xfs rw 0 0\n//filer/a\\043b /mnt/b cifs rw 0 0\n"
        "none /mnt/c tmpfs rw 0 0\n/dev/sdc1 /home ext4 rw 0 0\n"
    )
    (other / "proc/self/mounts").write_text(
        "/dev/root / ext4 ro 0 0\n/dev/sdb1 /srv/my\\040data xfs ro 0 0\n//filer/a\\043b /mnt/b cifs ro 0 0\n"
        "none /mnt/c tmpfs ro 0 0\ntmpfs /home tmpfs ro 0 0\n/dev/root /var/lib/agent ext4 rw 0 0\n"
    )
    assert linux.mounts() == [
        Mount(b"/dev/root", b"/", "ext4", read_only=False),
        Mount(b"/dev/sdb1", b"/srv/my data", "xfs", read_only=False),
        Mount(b"//filer/a#b", b"/mnt/b", "cifs", read_only=False),
        Mount(b"none", b"/mnt/c", "tmpfs", read_only=False),
    ]


def test_a_device_that_psutil_renames_is_called_as_in_the_table():
    machine = [Mount(b"/dev/root", b"/", "ext4", read_only=False), Mount(b"/dev/sdb", b"/x", "xfs", read_only=False)]
    ours = [machine[0]._replace(device=b"/dev/mmcblk0p2"), machine[1]._replace(device=b"/dev/sdc")]
    assert put_back(ours, machine) == [machine[0], ours[1]]


def test_a_card_that_does_not_take_psutils_question_costs_no_record(linux, monkeypatch):
    def refuse():
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(psutil, "net_if_stats", refuse)
    net = Net(ALL, counters=linux.interfaces, up=linux.up, speeds=linux.speeds)
    shown = {dict(row.tags)["interface"]: row.fields for row in net.read()}
    assert shown["ens7"]["speed"] == 2500
    assert "speed" not in shown["wlan9"]
    assert "ens8" not in shown  # it is down


def test_users_are_logind_s_where_there_is_no_utmp(linux, other):
    (other / "run/utmp").unlink()
    assert linux.users() == {}
    sessions = other / "run/systemd/sessions"
    sessions.mkdir(parents=True)
    (sessions / "3").write_text("UID=1000\nUSER=mina\nCLASS=user\n")
    assert linux.users() == {"n_users": 1, "n_unique_users": 1}


def test_psutil_alone_gives_the_same_groups_but_pressure_and_control_groups():
    """What macOS and the BSDs have, as far as psutil under Linux can show it."""
    alone, proc = sampler(ThroughPsutil()), sampler(ThroughProc(Tree(), ()))
    tick(alone), tick(proc)
    fields: dict[str, set[str]] = {"host.system": {"n_users", "n_unique_users"}}  # in a container nobody logs in
    for (source, _), found in tick(proc).items():
        fields.setdefault(source, set()).update(found)
    mine = tick(alone)
    sources = {source for source, _ in mine}
    assert sources >= {"host.cpu", "host.load", "host.mem", "host.swap", "host.net", "host.system", "host.processes"}
    assert not {"host.pressure", "host.cgroup"} & sources
    for (source, tags), found in mine.items():
        assert found.keys() <= fields[source] | {"io_await", "io_svctm"}, (source, tags)


def test_the_first_tick_has_no_cpu_and_the_second_has():
    both = sampler(Linux(ThroughProc(Tree(), ())))
    first, second = tick(both), tick(both)
    assert "host.cpu" not in {source for source, _ in first}
    assert {dict(tags)["cpu"] for source, tags in second if source == "host.cpu"} >= {"cpu-total", "cpu0"}
