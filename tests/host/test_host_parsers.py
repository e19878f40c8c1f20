"""The parsers of /proc text: exact on text as kernels write it, and on any other a ValueError and nothing worse."""

import math
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.collectors.host import (
    cgroup,
    cpu,
    disk,
    diskio,
    memory,
    net,
    owners,
    pressure,
    processes,
    sensors,
    system,
    top,
)
from agent.collectors.host.filters import (
    EXCLUDE_DEVICES,
    EXCLUDE_FSTYPES,
    EXCLUDE_INTERFACES,
    EXCLUDE_MOUNTS,
    Filter,
)

ALL = Filter.of((), ())
U64 = st.integers(0, 2**64 - 1)
COUNTS = st.lists(U64, min_size=10, max_size=10)
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-_."), min_size=1, max_size=15)

# Text much like the kernel's, cut, doubled and mixed up.
WORDS = st.sampled_from(
    b"cpu cpu0 MemTotal: kB max some avg10=1.5 total=7 8:16 rbytes=1 depth=max -1 0 18446744073709551616 nan inf eth0: "
    b"pswpin \\040 (x) S \xff = : \xd9\xa3 1_0".split()
)
SEPARATORS = st.sampled_from([b" ", b"  ", b"\n", b"\t", b""])
TEXT = st.lists(st.tuples(WORDS, SEPARATORS), max_size=60).map(lambda parts: b"".join(map(b"".join, parts)))
ANY = st.binary(max_size=300) | TEXT

PARSERS = [
    lambda raw: cpu.times(raw, per_cpu=True),
    memory.meminfo,
    lambda raw: memory.swap({}, raw),
    lambda raw: diskio.diskstats(raw, ALL),
    net.net_dev,
    pressure.stalls,
    lambda raw: processes.count([raw]),
    disk.mount_table,
    system.cpu_list,
    system.utmp,
    system.session,
    top.task,
    owners.users,
    sensors.temperature,
    sensors.speed,
    cgroup.own_group,
    lambda raw: cgroup.values("memory.current", raw),
    lambda raw: cgroup.values("io.stat", raw),
]


@pytest.mark.parametrize("parse", PARSERS)
@given(raw=ANY)
@example(raw=b"")
@example(raw=b"cpu")
@example(raw=b"a b\n" * 3)
@example(raw=b"7 (a) " + b"x " * 30)
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_or_refused(parse, raw):
    try:
        parse(raw)
    except ValueError:
        pass


@given(st.lists(COUNTS, min_size=1, max_size=5))
def test_cpu_lines_come_back_as_they_were_written(cpus):
    lines = [
        b"cpu%s %s" % (b"" if n == 0 else b"%d" % (n - 1), b" ".join(b"%d" % tick for tick in ticks))
        for n, ticks in enumerate(cpus)
    ]
    found = cpu.times(b"\n".join(lines) + b"\nintr 5 0 0\n", per_cpu=True)
    assert list(found.values()) == [tuple(ticks) for ticks in cpus]
    assert list(found) == ["cpu-total", *(f"cpu{n}" for n in range(len(cpus) - 1))]


@given(COUNTS, COUNTS)
@example([5] * 10, [5] * 10)  # no time has passed
@example([5, 5, 5, 100, 50, 5, 5, 5, 0, 0], [9, 5, 5, 104, 20, 5, 5, 5, 0, 0])  # iowait ran backwards
@example([0] * 10, [10, 0, 0, 0, 0, 0, 0, 0, 20, 0])  # more of the guest than of the user
def test_cpu_usage_is_never_negative_and_never_more_than_all(before, now):
    fields = cpu.usage(before, now)
    if fields is not None:
        assert all(0 <= value <= 100 and math.isfinite(value) for value in fields.values())


def test_cpu_counters_that_were_reset_give_no_usage():
    assert cpu.usage([100] * 10, [1] * 10) is None


def test_a_guests_time_is_not_counted_twice():
    fields = cpu.usage([0] * 10, [50, 0, 0, 50, 0, 0, 0, 0, 30, 0])
    assert (fields["usage_user"], fields["usage_guest"], fields["usage_idle"]) == (20.0, 30.0, 50.0)


def test_an_old_kernels_fewer_cpu_states_are_zero():
    assert cpu.times(b"cpu 1 2 3 4\n", per_cpu=True) == {"cpu-total": (1, 2, 3, 4, 0, 0, 0, 0, 0, 0)}


@given(st.dictionaries(NAMES, st.lists(U64, min_size=11, max_size=20), max_size=5))
def test_block_devices_come_back_as_they_were_written(devices):
    raw = "".join(f" 8 {n} {name} {' '.join(map(str, v))}\n" for n, (name, v) in enumerate(devices.items()))
    found = diskio.diskstats(raw.encode(), ALL)
    assert list(found) == list(devices)
    for name, values in devices.items():
        assert found[name]["reads"] == values[0]
        assert found[name]["read_bytes"] == values[2] * 512
        assert found[name]["weighted_io_time"] == values[10]


DISK = st.fixed_dictionaries(dict.fromkeys(diskio.FIELDS, U64))


@given(DISK, DISK, st.floats(0, 1e6))
def test_the_work_of_a_block_device_is_never_negative(before, now, seconds):
    fields = diskio.work(before, now, seconds)
    assert all(value >= 0 and math.isfinite(value) for value in fields.values())


def test_block_device_counters_that_were_reset_or_wrapped_give_no_rates():
    before = dict.fromkeys(diskio.FIELDS, 1000)
    grown = {**dict.fromkeys(diskio.FIELDS, 1100), "iops_in_progress": 0}
    assert diskio.work(before, grown, 1.0) == {"io_util": 10.0, "io_await": 1.0, "io_svctm": 0.5}
    assert diskio.work(before, {**grown, "read_time": 3}, 1.0) == {}


@given(st.dictionaries(NAMES, st.lists(U64, min_size=16, max_size=16), max_size=5))
def test_interfaces_come_back_as_they_were_written(interfaces):
    raw = "Inter-|\n face |bytes\n" + "".join(f"{name:>6}:{' '.join(map(str, v))}\n" for name, v in interfaces.items())
    found = net.net_dev(raw.encode())
    assert list(found) == list(interfaces)
    for name, values in interfaces.items():
        assert [found[name][field] for field in ("bytes_recv", "drop_in", "bytes_sent", "err_out")] == [
            values[n] for n in (0, 3, 8, 10)
        ]


@given(U64, U64, U64, U64)
def test_memory_shares_are_between_nothing_and_all(total, free, available, cached):
    fields = memory.memory({"MemTotal": total, "MemFree": free, "MemAvailable": available, "Cached": cached})
    assert 0 <= fields["used"] <= total
    assert 0 <= fields["used_percent"] <= 100


def test_memory_before_linux_3_14_is_estimated():
    info = memory.meminfo(b"MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 20 kB\nSReclaimable: 5 kB\n")
    assert memory.memory(info)["available"] == 40 << 10


def test_a_process_may_have_any_name():
    stat = b"7 (a) R 1 (b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 12 0 0\n"
    fields = processes.count([stat, b"", b"8 (gone"])
    assert (fields["sleeping"], fields["running"], fields["total"], fields["total_threads"]) == (1, 0, 1, 12)


@given(st.binary(min_size=1).filter(lambda path: b"\0" not in path))
def test_mount_paths_come_back_as_they_were_before_the_kernel_escaped_them(path):
    escaped = b"".join(
        b"\\%03o" % byte if byte in b" \t\n\\#\r\x0b\x0c\x1c\x1d\x1e" else bytes([byte]) for byte in path
    )
    (mount,) = disk.mount_table(b"/dev/x /%s ext4 rw,relatime 0 0\n" % escaped)
    assert mount == disk.Mount(b"/dev/x", b"/" + path, "ext4", read_only=False)


def test_what_is_mounted_over_a_mount_hides_it():
    table = disk.mount_table(b"/dev/a /x ext4 rw 0 0\n/dev/b /x xfs ro 0 0\n")
    assert table == [disk.Mount(b"/dev/b", b"/x", "xfs", read_only=True)]


def test_only_mounts_that_this_process_sees_at_their_path_below_the_prefix_are_asked():
    theirs = disk.mount_table(
        b"/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw 0 0\n/dev/c /home ext4 rw 0 0\n/dev/d /late ext4 rw 0 0\n"
    )
    ours = disk.mount_table(
        b"overlay / overlay rw 0 0\n/dev/a /host ext4 ro 0 0\n"
        b"/dev/b /host/data xfs ro 0 0\ntmpfs /host/home tmpfs rw 0 0\n"
    )
    assert [mount.path for mount in disk.visible(theirs, ours, b"/host")] == [b"/", b"/data"]
    assert disk.visible(theirs, theirs, b"") == theirs


def test_pressure_is_read_by_name():
    raw = b"some avg10=0.12 avg60=3.45 avg300=6.78 total=18446744073709551615\n"
    assert pressure.stalls(raw) == {"some": {"avg10": 0.12, "avg60": 3.45, "avg300": 6.78, "total": 2**64 - 1}}


@given(st.sets(st.integers(0, 300), min_size=1))
def test_cpu_lists_come_back_as_they_were_written(numbers):
    ordered = sorted(numbers)
    assert system.cpu_list(",".join(map(str, ordered)).encode() + b"\n") == ordered


def test_cpu_lists_may_hold_ranges():
    assert system.cpu_list(b"0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    with pytest.raises(ValueError, match="too many"):
        system.cpu_list(b"0-999999999\n")


@pytest.mark.parametrize("size", [384, 400])
def test_logins_are_read_in_both_sizes_of_an_entry(size):
    def entry(kind, user):
        return struct.pack("=hxxi32s4s32s256s", kind, 4321, b"pts/7", b"ts/7", user, b"far").ljust(size, b"\0")

    raw = entry(2, b"reboot") + entry(7, b"mina") + entry(8, b"") + entry(7, b"joon")
    assert system.utmp(raw) == [b"mina", b"joon"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"0::/system.slice/agent.service\n", "/system.slice/agent.service"),
        (b"9:memory:/x\n0::/\n", ""),
        (b"0::/../../outside\n", ""),
        (b"4:memory:/v1/only\n", ""),
    ],
)
def test_the_own_control_group_is_the_one_of_version_2(raw, path):
    assert cgroup.own_group(raw) == path


def test_control_group_files_take_telegrafs_names():
    assert cgroup.values("memory.current", b"4096\n") == {"memory.current": 4096}
    assert cgroup.values("memory.max", b"max\n") == {}
    assert cgroup.values("cpu.max", b"max 100000\n") == {"cpu.max.1": 100000}
    assert cgroup.values("cpu.stat", b"usage_usec 5\nnr_periods 6\n") == {
        "cpu.stat.usage_usec": 5,
        "cpu.stat.nr_periods": 6,
    }
    # Some kernels put devices that did nothing before others on the same line.
    assert cgroup.values("io.stat", b"7:1 7:0 8:0 rbytes=1 depth=max\n259:3 wios=2\n") == {
        "io.stat.8:0.rbytes": 1,
        "io.stat.259:3.wios": 2,
    }


@pytest.mark.parametrize(
    ("globs", "left_out", "kept"),
    [
        (
            EXCLUDE_INTERFACES,
            ["lo", "veth12ab", "docker0", "br-1f", "cni0", "flannel.1", "cali99"],
            ["eth0", "bond0", "br0"],
        ),
        (EXCLUDE_DEVICES, ["loop0", "ram15", "zram0", "sr0"], ["sda", "nvme0n1p2", "dm-0", "md0", "vda1"]),
        (EXCLUDE_FSTYPES, ["tmpfs", "overlay", "squashfs", "nsfs", "cgroup2"], ["ext4", "xfs", "btrfs", "zfs", "nfs4"]),
        (
            EXCLUDE_MOUNTS,
            ["/var/lib/docker/overlay2/x/merged", "/var/lib/kubelet/pods/a/b", "/run/containerd/io/x", "/etc/hosts"],
            ["/", "/var/lib/docker", "/var/lib/kubelet", "/data", "/etc"],
        ),
    ],
)
def test_defaults_leave_out_what_container_runtimes_make(globs, left_out, kept):
    some = Filter.of((), globs)
    assert [name for name in left_out + kept if some.takes(name)] == kept


def test_what_is_named_is_taken_and_nothing_else():
    some = Filter.of(("eth*", "lo"), ("lo", "eth1"))
    assert [name for name in ("eth0", "eth1", "lo", "wlan0", "xeth0") if some.takes(name)] == ["eth0", "eth1", "lo"]
