"""The watchdog: an outage of any length is no reason to restart, a thread that hangs is."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import AgentProcess, wait_for
from scene import (
    HASTY_AGENT,
    Books,
    assert_books_balance,
    broker,
    cloud,
    health,
    is_subscribed,
    mqtt_collector,
    obsrv_sink,
    publish,
    settled,
    subscribed,
)

from systemd import WATCHDOG, systemd

pytestmark = pytest.mark.mosquitto


def test_broker_and_sink_down_for_ten_watchdog_periods_restart_nothing(tmp_path: Path) -> None:
    with systemd() as host, broker(tmp_path) as plant, contextlib.ExitStack() as stack:
        far = stack.enter_context(cloud(tmp_path))
        config = HASTY_AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config, host.env) as agent:
            agent.start()
            subscribed(agent)
            wait_for("READY", lambda: any("READY=1" in text for text in host.said))
            wait_for("the first feed", lambda: host.fed)
            publish(plant, range(100))
            wait_for("them to be stored", lambda: settled(agent, 100))
            stack.close()  # the far side is gone
            publish(plant, range(100, 200))
            wait_for("the backlog", lambda: agent.status()["sinks"]["lake"]["queued"] == 100)
            plant.kill()
            since = time.monotonic()
            wait_for("both to be noticed", lambda: not is_subscribed(agent) and health(agent, "delivery")[0] == 503)
            wait_for("ten watchdog periods", lambda: time.monotonic() - since > 10 * WATCHDOG)
            assert host.longest_silence(since) < WATCHDOG
            assert agent.child is not None
            assert agent.child.poll() is None
            assert health(agent, "ready")[0] == 200
            assert health(agent, "live")[0] == 200
            code, page = health(agent, "delivery")
            assert code == 503
            assert page["sinks"]["lake"]["state"] == "down"
            assert "refused" in page["sinks"]["lake"]["reason"].lower()
            assert agent.stop() == 0
            assert any("STOPPING=1" in text for text in host.said)
            assert_books_balance(agent)


# A sync of a segment that hangs as long as a file is there: a disk in trouble, as the writer's thread sees it.
HANGING_SYNC = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_the_disk(int fd) {
    char link[64], path[4096];
    const char *flag = getenv("HANG_WHILE_THERE_IS");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || flag == NULL) return;
    path[length] = 0;
    if (strstr(path, ".seg") == NULL) return;
    while (access(flag, F_OK) == 0) usleep(10000);
}
int fdatasync(int fd) { wait_for_the_disk(fd); return (int)syscall(SYS_fdatasync, fd); }
int fsync(int fd) { wait_for_the_disk(fd); return (int)syscall(SYS_fsync, fd); }
"""


def _hanging_sync(directory: Path) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        missing = "no C compiler: the test of a hanging writer needs one and is skipped"
        sys.stderr.write(f"\n*** {missing} ***\n")
        pytest.skip(missing)
    source, library = directory / "hang.c", directory / "hang.so"
    source.write_text(HANGING_SYNC)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    return library


def test_a_writer_thread_that_hangs_is_not_fed_for(tmp_path: Path) -> None:
    library, flag = _hanging_sync(tmp_path), tmp_path / "hang"
    with systemd() as host, broker(tmp_path) as plant, cloud(tmp_path) as far:
        config = HASTY_AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        env = {**host.env, "LD_PRELOAD": str(library), "HANG_WHILE_THERE_IS": str(flag)}
        with AgentProcess(tmp_path / "agent", config, env) as agent:
            agent.start()
            subscribed(agent)
            acknowledged = publish(plant, range(100))
            wait_for("them to be stored", lambda: settled(agent, 100))
            wait_for("feeds", lambda: len(host.fed) >= 3)
            flag.touch()
            acknowledged |= publish(plant, range(100, 200))
            wait_for("the hang to be noticed", lambda: health(agent, "live")[0] == 503)
            assert "spool writer" in health(agent, "live")[1]["hanging"]
            # systemd would kill it now; nobody does here.
            last = len(host.fed)
            since = time.monotonic()
            wait_for("two watchdog periods", lambda: time.monotonic() - since > 2 * WATCHDOG)
            assert len(host.fed) == last
            assert agent.text().count("a part hangs, the watchdog is not fed") == 1
            # And where the disk comes back in time, all goes on.
            flag.unlink()
            wait_for("the feed to go on", lambda: len(host.fed) > last)
            wait_for("all to be stored", lambda: settled(agent, 200))
            assert health(agent, "live")[0] == 200
            assert Books.of(far).missing(acknowledged) == []
            assert Books.of(far).twice() == 0
            assert agent.stop() == 0
            assert_books_balance(agent)
