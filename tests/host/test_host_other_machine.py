"""`host_root` over a recorded machine: that machine's values, to the digit, and none of this one's."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import get_args

import pytest
from taking import OTHER, Taken, found, only, running, take

from agent.collectors.host import Host
from agent.collectors.host.memory import PAGE
from agent.collectors.host.readings import Group


def other(**options):
    return Host(host_root=str(OTHER), interval=0.05, **options)


@pytest.fixture(scope="module")
def emission():
    return take(other())


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(OTHER, tmp_path / "other", symlinks=True))


def test_load_uptime_cpus_and_users_are_the_other_machines(emission):
    assert only(emission, "host.load") == {"load1": 4.25, "load5": 3.5, "load15": 2.75}
    assert only(emission, "host.system") == {
        "uptime": 8640123,
        "n_cpus": 6,
        "n_physical_cpus": 3,
        "n_users": 3,
        "n_unique_users": 2,
    }


def test_memory_and_swap_are_the_other_machines(emission):
    mem = only(emission, "host.mem")
    assert mem == {
        "active": 786432 << 10,
        "available": 1048576 << 10,
        "available_percent": 33.3333,
        "buffered": 65536 << 10,
        "cached": (524288 + 131072) << 10,
        "commit_limit": 3670016 << 10,
        "committed_as": 2883584 << 10,
        "dirty": 512 << 10,
        "free": 262144 << 10,
        "huge_page_size": 2 << 20,
        "huge_pages_free": 5,
        "huge_pages_total": 7,
        "inactive": 393216 << 10,
        "mapped": 131072 << 10,
        "page_tables": 8192 << 10,
        "shared": 32768 << 10,
        "slab": 196608 << 10,
        "sreclaimable": 131072 << 10,
        "sunreclaim": 65536 << 10,
        "swap_cached": 4096 << 10,
        "swap_free": 1572864 << 10,
        "swap_total": 2097152 << 10,
        "total": 3 << 30,
        "used": 2 << 30,
        "used_percent": 66.6667,
        "vmalloc_chunk": 0,
        "vmalloc_total": 34359738367 << 10,
        "vmalloc_used": 20480 << 10,
        "write_back": 16 << 10,
        "write_back_tmp": 0,
    }
    assert only(emission, "host.swap") == {
        "total": 2 << 30,
        "free": 1536 << 20,
        "used": 512 << 20,
        "used_percent": 25.0,
        "in": 321 * PAGE,
        "out": 654 * PAGE,
    }


def test_block_devices_are_the_other_machines(emission):
    records = found(emission, "host.diskio")
    assert [record.tags for record in records] == [{"name": "sdb"}, {"name": "sdb1"}, {"name": "dm-0"}]
    assert records[0].fields == {
        "reads": 1000,
        "merged_reads": 100,
        "read_bytes": 40960000,
        "read_time": 2500,
        "writes": 2000,
        "merged_writes": 200,
        "write_bytes": 81920000,
        "write_time": 7500,
        "iops_in_progress": 3,
        "io_time": 4000,
        "weighted_io_time": 10500,
    }


def test_interfaces_are_the_other_machines_those_that_are_up(emission):
    ens7, wlan9 = found(emission, "host.net")
    assert ens7.tags == {"interface": "ens7"}
    assert ens7.fields == {
        "bytes_recv": 7700000,
        "packets_recv": 77000,
        "err_in": 1,
        "drop_in": 2,
        "bytes_sent": 3300000,
        "packets_sent": 33000,
        "err_out": 3,
        "drop_out": 4,
        "speed": 2500,
    }
    assert wlan9.tags == {"interface": "wlan9"}
    assert "speed" not in wlan9.fields  # -1 is no speed


def test_counters_beyond_a_floats_integers_arrive_exact(emission):
    wlan9 = found(emission, "host.net")[1].fields
    assert (wlan9["bytes_recv"], wlan9["bytes_sent"]) == (2**64 - 1, 2**53 + 1)


def test_processes_are_the_other_machines(emission):
    assert only(emission, "host.processes") == {
        "running": 1,
        "sleeping": 3,
        "blocked": 1,
        "zombies": 1,
        "dead": 0,
        "stopped": 2,
        "paging": 0,
        "idle": 1,
        "parked": 0,
        "unknown": 1,
        "total": 10,
        "total_threads": 50,
    }


def test_pressure_is_the_other_machines(emission):
    records = found(emission, "host.pressure")
    assert [tuple(record.tags.values()) for record in records] == [
        ("cpu", "some"),
        ("memory", "some"),
        ("memory", "full"),
        ("io", "some"),
        ("io", "full"),
    ]
    assert records[2].tags == {"resource": "memory", "type": "full"}
    assert records[2].fields == {"avg10": 24.44, "avg60": 25.55, "avg300": 26.66, "total": 244555666}


def test_the_root_control_group_is_the_other_machines(emission):
    (record,) = found(emission, "host.cgroup")
    assert record.tags == {"path": "/sys/fs/cgroup"}
    assert record.fields == {
        "cpu.stat.usage_usec": 987654321,
        "cpu.stat.user_usec": 600000000,
        "cpu.stat.system_usec": 387654321,
        "io.stat.8:16.rbytes": 40960000,
        "io.stat.8:16.wbytes": 81920000,
        "io.stat.8:16.rios": 1000,
        "io.stat.8:16.wios": 2000,
        "io.stat.8:16.dbytes": 0,
        "io.stat.8:16.dios": 0,
    }


def test_named_control_groups_are_reported_with_their_limits_and_no_limit_as_no_field():
    db, web = found(take(other(groups=("cgroup",), cgroups=("system.slice/*.service",))), "host.cgroup")
    assert web.tags == {"path": "/sys/fs/cgroup/system.slice/web.service"}
    assert web.fields["memory.current"] == 123456789
    assert web.fields["memory.max"] == 268435456
    assert web.fields["memory.events.oom_kill"] == 7
    assert (web.fields["cpu.max.0"], web.fields["cpu.max.1"]) == (150000, 100000)
    assert web.fields["cpu.stat.nr_throttled"] == 3
    assert web.fields["pids.current"] == 37
    assert web.fields["io.stat.253:0.wbytes"] == 8
    assert "pids.max" not in web.fields
    assert db.tags == {"path": "/sys/fs/cgroup/system.slice/db.service"}
    assert "memory.max" not in db.fields
    assert "cpu.max.0" not in db.fields
    assert db.fields["cpu.max.1"] == 100000


def test_nothing_is_said_of_disks_that_cannot_be_asked(emission):
    # Each of its paths leads somewhere from here: to this machine's disk, whose size is not the other's.
    assert b"/dev/mapper/vg9-root / xfs" in (OTHER / "proc/1/mounts").read_bytes()
    assert found(emission, "host.disk") == []


def test_named_mounts_cannot_be_asked_either():
    assert found(take(other(groups=("load", "disk"), mounts=("*",))), "host.disk") == []


def test_cpu_usage_is_worked_out_from_the_other_machines_counters(copy):
    async def main():
        taken = Taken()
        async with running(Host(host_root=str(copy), interval=0.02, groups=("cpu", "load")), taken):
            assert found(await taken.emission(0), "host.cpu") == []  # the start of the first interval
            stat = copy / "proc/stat"
            text = stat.read_text()
            text = text.replace("cpu0 10000 200 5050 150000 1000 ", "cpu0 10050 200 5060 150030 1010 ")
            (copy / "proc/stat.new").write_text(text.replace("cpu  60600", "cpu  61600"))
            (copy / "proc/stat.new").rename(stat)
            await taken.until(lambda: bool(found(taken.emissions[-1], "host.cpu")))
            return {record.tags["cpu"]: record.fields for record in found(taken.emissions[-1], "host.cpu")}

    cpus = asyncio.run(main())
    # Those whose counters stand still have spent no time, so nothing is said of them.
    assert set(cpus) == {"cpu-total", "cpu0"}
    assert (
        cpus["cpu0"]
        | {
            "usage_user": 50.0,
            "usage_system": 10.0,
            "usage_idle": 30.0,
            "usage_iowait": 10.0,
            "usage_nice": 0.0,
            "usage_active": 70.0,
            "time_user": 100.5,
            "time_idle": 1500.3,
            "time_guest": 1.0,
        }
        == cpus["cpu0"]
    )
    assert cpus["cpu-total"]["usage_user"] == 100.0


def test_a_machine_without_sys_users_or_pressure_is_reported_without_them(copy):
    shutil.rmtree(copy / "sys")
    shutil.rmtree(copy / "run")
    shutil.rmtree(copy / "proc/pressure")
    emission = take(Host(host_root=str(copy), interval=0.05))
    assert only(emission, "host.system") == {"uptime": 8640123, "n_cpus": 6}
    assert found(emission, "host.pressure") == []
    assert found(emission, "host.cgroup") == []
    # Whether they are up is unknown: the down one is reported too.
    assert [record.tags["interface"] for record in found(emission, "host.net")] == ["ens7", "ens8", "wlan9"]


def test_users_are_counted_by_logind_where_there_is_no_utmp(copy):
    (copy / "run/utmp").unlink()
    sessions = copy / "run/systemd/sessions"
    sessions.mkdir(parents=True)
    (sessions / "3").write_text("# private\nUID=1000\nUSER=mina\nCLASS=user\n")
    (sessions / "c1").write_text("UID=120\nUSER=gdm\nCLASS=greeter\n")
    (sessions / "4").write_text("UID=1000\nUSER=mina\nCLASS=user-early\n")
    system = only(take(Host(host_root=str(copy), interval=0.05, groups=("system",))), "host.system")
    assert (system["n_users"], system["n_unique_users"]) == (2, 1)


def test_an_older_cgroup_or_no_process_1_is_no_reason_to_show_this_machines(copy):
    (copy / "proc/1/mounts").unlink()
    emission = take(Host(host_root=str(copy), interval=0.05))
    assert found(emission, "host.disk") == []
    assert found(emission, "host.cgroup") == []
    assert only(emission, "host.load")["load1"] == 4.25


def test_no_file_of_this_machine_is_opened_but_its_own_mount_table():
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)  # cannot be taken away again: it is switched off
    take(other(groups=get_args(Group), naming="ncloud"), ticks=3)
    watching = False
    ours = {path for path in opened if path.startswith(("/proc", "/sys", "/run", "/var", "/etc"))}
    assert ours <= {"/proc/self/mounts"}
    assert {f"{OTHER}/proc/stat", f"{OTHER}/sys/class/hwmon/hwmon0/temp1_input"} <= set(opened)
