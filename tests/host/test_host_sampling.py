"""What fails or hangs costs itself alone; ticks keep their grid; nothing is taken before the last is durable."""

import asyncio
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs
from taking import OTHER, PATIENCE, Taken, found, running

from agent.collectors.host import Host
from agent.collectors.host.disk import Disk, mount_table, sizes
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Reading, Row
from agent.collectors.host.sampling import Sampler, encode

ALL = Filter.of((), ())


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(OTHER, tmp_path / "other"))


def sources(emission):
    return {record.source for record in found(emission)}


def failures(taken):
    return {
        sample.labels["group"]: sample.value
        for sample in taken.stats.samples()
        if sample.name == "agent_collector_group_failures_total"
    }


def test_a_failing_group_costs_itself_alone_and_is_said_once_each_way(copy):
    async def main():
        meminfo = copy / "proc/meminfo"
        text = meminfo.read_bytes()
        meminfo.write_bytes(b"not what it was\n")
        host = Host(host_root=str(copy), interval=0.02, groups=("load", "mem", "system"))
        async with running(host) as taken:
            await taken.emission(4)
            assert sources(taken.emissions[-1]) == {"host.load", "host.system"}
            assert failures(taken).keys() == {"mem"}
            assert failures(taken)["mem"] >= 4
            assert taken.part.state == "up"
            (copy / "proc/meminfo.new").write_bytes(text)
            (copy / "proc/meminfo.new").rename(meminfo)
            await taken.until(lambda: "host.mem" in sources(taken.emissions[-1]))

    with capture_logs() as logs:
        asyncio.run(main())
    said = [(line["event"], line["reading"]) for line in logs]
    assert said == [("host reading failed", "mem"), ("host reading works again", "mem")]
    assert "MemTotal" in logs[0]["reason"]


def test_where_nothing_can_be_read_the_collector_is_down_and_says_why(tmp_path):
    async def main():
        taken = Taken()
        async with running(Host(host_root=str(tmp_path), interval=0.02, groups=("load", "mem")), taken):
            async with asyncio.timeout(PATIENCE):
                while not failures(taken).get("mem", 0) > 2:
                    await asyncio.sleep(0.01)
            assert taken.part.state == "down"
            assert f"{tmp_path}/proc/loadavg" in taken.part.reason
            assert taken.emissions == []
            shutil.copytree(OTHER / "proc", tmp_path / "proc")
            await taken.until(lambda: taken.part.state == "up" and len(found(taken.emissions[-1])) == 2)

    asyncio.run(main())


def test_a_reading_that_hangs_is_left_out_until_it_returns_and_the_others_go_on(copy):
    async def main():
        loadavg = copy / "proc/loadavg"
        loadavg.rename(copy / "proc/loadavg.there")
        os.mkfifo(loadavg)  # to open it waits for a writer
        os.link(loadavg, copy / "proc/pipe")
        host = Host(host_root=str(copy), interval=0.02, groups=("load", "mem", "swap"), timeout=0.5)
        async with running(host) as taken:
            started = time.monotonic()
            await taken.emission(10)
            # Only the first tick waited for it.
            assert time.monotonic() - started < 0.5 * 5
            assert all(sources(emission) == {"host.mem", "host.swap"} for emission in taken.emissions)
            assert failures(taken).keys() == {"load"}
            assert sum(thread.name == "host-metrics" for thread in threading.enumerate()) <= 2
            (copy / "proc/loadavg.there").rename(loadavg)
            os.close(os.open(copy / "proc/pipe", os.O_WRONLY))
            await taken.until(lambda: "host.load" in sources(taken.emissions[-1]))

    with capture_logs() as logs:
        asyncio.run(main())
    assert [line["event"] for line in logs] == ["host reading failed", "host reading works again"]
    assert "no answer within 0.5 s" in logs[0]["reason"]


def test_the_watchdog_waits_for_a_reading_as_long_as_the_operator_lets_it_take(copy):
    async def main():
        host = Host(host_root=str(copy), interval=10.0, groups=("load",), timeout=100.0)
        async with running(host) as taken:
            await taken.emission(0)
            assert taken.part.due - time.monotonic() > 10 + 100

    asyncio.run(main())


def test_a_dead_file_server_costs_its_own_mounts_alone():
    table = b"/dev/a / ext4 rw 0 0\nfiler:/x /mnt/x nfs4 rw 0 0\nfiler:/y /mnt/y nfs4 rw 0 0\n/dev/b /srv xfs ro 0 0\n"
    alive = threading.Event()

    def ask(path: bytes) -> Fields:
        if b"/mnt/" in path:
            alive.wait(PATIENCE)
        return sizes(os.statvfs("/"))

    def paths(sample):
        return [dict(tags)["path"] for _, tags, _ in sample.rows]

    async def main():
        disk = Disk(ALL, ALL, table=lambda: mount_table(table), ask=ask)
        sampler = Sampler([Reading("disk", "disk", disk.read)], timeout=1.0)
        first = await sampler.sample()
        assert paths(first) == ["/", "/srv"]
        assert set(first.failures) == {"disk /mnt/x", "disk /mnt/y"}
        started = time.monotonic()
        assert paths(await sampler.sample()) == ["/", "/srv"]
        assert time.monotonic() - started < 1.0
        alive.set()
        async with asyncio.timeout(PATIENCE):
            while (await sampler.sample()).failures:
                await asyncio.sleep(0.01)
        assert paths(await sampler.sample()) == ["/", "/mnt/x", "/mnt/y", "/srv"]

    asyncio.run(main())


def test_a_hanging_reading_does_not_keep_the_process_from_ending(copy):
    (copy / "proc/loadavg").unlink()
    os.mkfifo(copy / "proc/loadavg")
    program = f"""
import asyncio
from agent.collectors.host import Host
from agent.collectors.host.sampling import Sampler

async def main():
    sample = await Sampler(Host(host_root={str(copy)!r}, groups=("load", "mem")).readings(), 0.1).sample()
    print(sorted(sample.failures), len(sample.rows))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "['load'] 1"


def test_an_emission_holds_all_groups_of_a_tick_in_columns_of_equal_length():
    async def main():
        host = Host(host_root=str(OTHER), interval=0.02, groups=("load", "mem", "diskio"))
        before = time.time_ns() // 1_000_000
        async with running(host) as taken:
            first, second = await taken.emission(0), await taken.emission(1)
        assert first.origin == "machine"
        assert before <= first.received_ms <= second.received_ms <= time.time_ns() // 1_000_000
        assert len(first.streams) == len(first.payloads) == 5
        assert (first.packets, first.hashes) == (None, None)
        assert [dict(stream.tags) for stream in first.streams[:3]] == [{}, {}, {"name": "sdb"}]
        # The same objects, so that intake routes them once.
        assert all(one is other for one, other in zip(first.streams, second.streams, strict=True))
        assert all(b"\n" not in payload for payload in first.payloads)

    asyncio.run(main())


def test_the_first_sample_is_taken_at_once_however_long_the_interval():
    async def main():
        async with running(Host(host_root=str(OTHER), interval=3600)) as taken:
            await taken.emission(0)
            assert taken.part.state == "up"
            assert taken.part.due > time.monotonic() + 3600
            assert taken.count("agent_collector_missed_ticks_total") == 0

    asyncio.run(main())


def test_nothing_is_sampled_until_the_last_is_durable_and_the_missed_ticks_are_counted():
    async def main():
        taken = Taken()
        taken.durable = False
        async with running(Host(host_root=str(OTHER), interval=0.02, groups=("load",)), taken):
            await taken.emission(0)
            # The disk may be full for days: the watchdog sees that the loop lives.
            async with asyncio.timeout(PATIENCE):
                for _ in range(5):
                    due = taken.part.due
                    while taken.part.due == due:
                        await asyncio.sleep(0.005)
            assert len(taken.emissions) == 1
            assert taken.count("agent_collector_missed_ticks_total") == 0
            taken.durable = True
            taken.waiting[0].set_result(None)
            await taken.emission(2)
            assert taken.count("agent_collector_missed_ticks_total") >= 3

    asyncio.run(main())


def test_ticks_stay_on_their_grid_however_long_a_sample_takes():
    class Slow(Taken):
        def emit(self, emission):
            super().emit(emission)
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.03, future.set_result, None)
            return future

    async def main():
        async with running(Host(host_root=str(OTHER), interval=0.05, groups=("load",)), Slow()) as taken:
            await taken.emission(11)
        times = [emission.received_ms for emission in taken.emissions[1:]]
        missed = taken.count("agent_collector_missed_ticks_total")
        # A loop that sleeps for the interval after each sample would take 80 ms a tick.
        assert times[-1] - times[0] <= (len(times) - 1 + missed) * 50 + 49

    asyncio.run(main())


def test_what_is_no_number_is_left_out():
    fields = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.5, "null": 2**64 - 1}
    assert orjson.loads(encode(Row("host.x", (), fields))) == {"d": 0.5, "null": 2**64 - 1}


def test_readings_given_by_a_reading_are_taken_in_its_place():
    def row(name):
        return [Row(name, (), {"x": 1})]

    inner = [Reading("disk", f"disk {n}", lambda n=n: row(f"inner{n}")) for n in range(3)]
    readings = [Reading("load", "load", lambda: row("first")), Reading("disk", "disk", lambda: inner)]
    readings.append(Reading("mem", "mem", lambda: row("last")))
    sample = asyncio.run(Sampler(readings, 5).sample())
    assert [source for source, _, _ in sample.rows] == ["first", "inner0", "inner1", "inner2", "last"]
    assert list(sample.groups) == ["load", "disk", "disk 0", "disk 1", "disk 2", "mem"]


def test_options_that_contradict_each_other_are_named():
    assert Host().problems() == []
    assert Host(mounts=("/data",), interfaces=("eth*",), devices=("sd*",)).problems() == []
    host = Host(
        groups=(),
        host_root="host",
        cgroups=("../x",),
        interfaces=("eth*",),
        exclude_interfaces=("eth9",),
    )
    assert [name for name, _ in host.problems()] == ["groups", "host_root", "cgroups", "exclude_interfaces"]


@pytest.mark.parametrize("root", ["", "/", "//"])
def test_a_root_of_nothing_but_slashes_is_this_machine(root):
    (reading,) = Host(groups=("load",), host_root=root).readings()
    assert len(list(reading.read())) == 1
