"""The processes that use most, and who is logged in: exact on a recorded machine, true of this one, no secrets."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from taking import OTHER, found, only, running, take

from agent.collectors.host import Host
from agent.collectors.host.cpu import TICKS
from agent.collectors.host.memory import PAGE
from agent.collectors.host.owners import Owners, users
from agent.collectors.host.processes import Passes
from agent.collectors.host.readings import Absent
from agent.collectors.host.system import each_user
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.top import Task, Top, task
from agent.collectors.host.tree import Tree

MEMORY = 3 << 30  # of the recorded machine


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(OTHER, tmp_path / "other", symlinks=True))


def write(copy, pid, name, *, ticks, start=100, pages=100, threads=1):
    """A stat file as the kernel writes it."""
    file = copy / f"proc/{pid}/stat"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks - 1} 1 0 0 20 0 {threads} 0 {start} 1000000 {pages} 0 1 1\n"
    )


def spend(copy, ticks):
    """Let the CPUs together spend so many ticks."""
    stat = copy / "proc/stat"
    head, _, rest = stat.read_text().partition("\n")
    columns = head.split()
    stat.write_text("  ".join([columns[0], " ".join([str(int(columns[1]) + ticks), *columns[2:]])]) + "\n" + rest)


def test_the_busiest_and_the_largest_processes_are_the_other_machines(copy):
    for pid, pages in ((401, 2000), (700, 300000)):
        write(copy, pid, "busy" if pid == 401 else "held", ticks=30, pages=pages)
    (reading,) = Host(host_root=str(copy), groups=("top",), top_processes=2).readings()
    assert list(reading.read()) == []  # the start of the first interval
    write(copy, 401, "busy", ticks=130, pages=2000, threads=4)
    write(copy, 500, "waiting on disk", ticks=31)
    write(copy, 900, "new (one)", ticks=50, start=999)
    spend(copy, 400)
    rows = {dict(row.tags)["process_name"]: row for row in reading.read()}
    assert list(rows) == ["busy", "new (one)", "held"]
    me = users((OTHER / "etc/passwd").read_bytes()).get(os.getuid(), str(os.getuid()))
    assert rows["new (one)"].tags == (("process_name", "new (one)"), ("pid", "900"), ("user", me))
    busy = dict(rows["busy"].fields)
    assert busy.pop("cpu_usage") > 0
    assert busy == {
        "cpu_share": 25.0,
        "memory_rss": 2000 * PAGE,
        "memory_usage": round(100 * 2000 * PAGE / MEMORY, 4),
        "memory_vms": 1000000,
        "num_threads": 4,
    }
    assert rows["new (one)"].fields["cpu_share"] == 12.5  # all it has used is of this interval
    assert rows["held"].fields["cpu_share"] == 0.0
    assert rows["held"].fields["memory_rss"] == 300000 * PAGE


def test_a_pid_that_came_again_is_another_process():
    tasks = [Task(7, 100, "old", 50.0, 1, 1, 1)]
    clock = iter([0, 10 * TICKS])
    top = Top(
        5,
        tasks=lambda: tasks,
        owner=lambda pid: "",
        times=lambda: {"cpu-total": (next(clock),) + (0,) * 9},
        memory=lambda: 100,
    )
    assert list(top.read()) == []
    tasks[:] = [Task(7, 900, "new", 2.0, 1, 1, 1)]
    (row,) = top.read()
    assert row.fields["cpu_share"] == 20.0
    assert row.tags == (("process_name", "new"), ("pid", "7"))  # whose it was is not known any more


def test_a_busy_process_of_this_machine_is_seen_with_its_owner_and_without_its_command_line():
    secret = "--password=hunter2"

    async def main(pid):
        # Others are busy here too: as many as there are.
        async with running(Host(interval=0.2, groups=("top",), top_processes=1000)) as taken:

            def records():
                every = [record for emission in taken.emissions[-1:] for record in found(emission)]
                return [record for record in every if record.tags["pid"] == str(pid) and record.fields["cpu_usage"] > 0]

            await taken.until(lambda: bool(records()))
            return records()[0], taken.emissions

    with subprocess.Popen(["sh", "-c", "while :; do :; done", secret]) as busy:
        try:
            record, emissions = asyncio.run(main(busy.pid))
        finally:
            busy.kill()
    assert (record.tags["process_name"], record.tags["user"]) == ("sh", pwd.getpwuid(os.getuid()).pw_name)
    assert record.fields["cpu_usage"] <= 120
    assert record.fields["cpu_share"] <= 100
    assert record.fields["num_threads"] == 1
    for emission in emissions:
        assert secret.encode() not in b"".join(emission.payloads)
        assert all(secret not in value for stream in emission.streams for value in stream.tags.values())


def test_psutil_knows_the_processes_too():
    mine = {found.pid: found for found in ThroughPsutil().tasks()}[os.getpid()]
    here = task(Path("/proc/self/stat").read_bytes())
    assert mine.name == psutil.Process().name()
    assert mine.resident == pytest.approx(here.resident, rel=0.2)
    assert mine.seconds == pytest.approx(here.seconds, abs=0.5)
    assert ThroughPsutil().owner(os.getpid()) == pwd.getpwuid(os.getuid()).pw_name
    assert ThroughPsutil().owner(2**22 + 1) == ""


def test_both_groups_that_look_at_every_process_share_one_pass(copy):
    opened: list[str] = []
    watching = True

    def watch(event, arguments):
        if watching and event == "open" and str(arguments[0]).endswith("/proc/401/stat"):
            opened.append(str(arguments[0]))

    readings = Host(host_root=str(copy), groups=("processes", "top")).readings()
    sys.addaudithook(watch)
    counts = []
    for _ in range(4):
        for reading in readings:
            list(reading.read())
        counts.append(len(opened))
    watching = False
    assert counts == [2, 3, 4, 5]  # in the first tick nobody knew yet that there are two


def test_one_group_alone_keeps_no_pass(copy):
    passes = Passes(Tree(str(copy)))
    assert len(list(passes.stats("processes"))) == 10
    write(copy, 901, "new", ticks=1)
    assert len(list(passes.stats("processes"))) == 11


def test_below_a_prefix_owners_are_called_as_there(copy):
    uid = os.getuid()
    (copy / "etc/passwd").write_text(f"somebody:x:{uid}:1::/:\nsecond:x:{uid}:1::/:\n")
    assert Owners(Tree(str(copy))).of(401) == "somebody"
    (copy / "etc/passwd").unlink()
    assert Owners(Tree(str(copy))).of(401) == str(uid)
    assert Owners(Tree(str(copy))).of(31337) == ""


def test_lines_of_passwd_that_are_none_are_left_out():
    assert users((OTHER / "etc/passwd").read_bytes()) == {0: "root", 1000: "mina"}
    assert users(b"\xff:x:\xd9\xa3:\n:::\n\n") == {}


@pytest.mark.parametrize("raw", [b"", b"7", b"8 (gone", b"8 (gone) Z 1 2"])
def test_a_process_that_ended_while_it_was_read_is_none(raw):
    assert task(raw) is None


def test_users_are_the_other_machines_and_sum_up_to_its_logins():
    emission = take(Host(host_root=str(OTHER), interval=0.05, groups=("system", "users")))
    assert [(record.tags, record.fields) for record in found(emission, "host.users")] == [
        ({"user": "joon"}, {"n_sessions": 1}),
        ({"user": "mina"}, {"n_sessions": 2}),
    ]
    system = only(emission, "host.system")
    assert (system["n_users"], system["n_unique_users"]) == (3, 2)


def test_users_are_logind_s_where_there_is_no_utmp_and_absent_where_nobody_knows(copy):
    (copy / "run/utmp").unlink()
    (reading,) = Host(host_root=str(copy), groups=("users",)).readings()
    with pytest.raises(Absent):
        list(reading.read())
    sessions = copy / "run/systemd/sessions"
    sessions.mkdir(parents=True)
    (sessions / "3").write_text("USER=mina\nCLASS=user\n")
    assert [row.tags for row in reading.read()] == [(("user", "mina"),)]


def test_users_through_psutil_are_who_says(monkeypatch):
    assert list(each_user(ThroughPsutil().logins())) == list(each_user([user.name for user in psutil.users()]))
    assert list(each_user([])) == []


def test_neither_is_sampled_unless_it_is_asked_for():
    assert {"top", "users"}.isdisjoint(Host().groups)
    assert {"temperature", "fan", "battery"} <= set(Host().groups)
