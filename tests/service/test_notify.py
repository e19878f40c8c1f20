"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import os
import time

import pytest
from children import manager

from agent.service import notify, ready, reloading, status, stopping
from agent.service.systemd import watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_it_on_a_path_and_in_the_abstract_namespace(
    monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    with manager(abstract=abstract) as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        assert ready("2 sinks, 1 broker not reached")
        assert systemd.hear() == "READY=1\nSTATUS=2 sinks, 1 broker not reached"
        assert notify("WATCHDOG=1")
        assert systemd.hear() == "WATCHDOG=1"
        assert stopping()
        assert systemd.hear() == "STOPPING=1"


def test_a_reload_says_when_it_began_on_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    with manager() as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert reloading()
        first, second = systemd.hear().split("\n")
        assert first == "RELOADING=1"
        key, began = second.split("=")
        assert key == "MONOTONIC_USEC"
        assert before <= int(began) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_status_of_several_lines_cannot_say_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with manager() as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        assert status("lake: refused\nMAINPID=1\r\nWATCHDOG=trigger")
        assert systemd.hear() == "STATUS=lake: refused MAINPID=1 WATCHDOG=trigger"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/nowhere/at/all"])
def test_without_systemd_nothing_is_said_and_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not ready()


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("60000000", None, 60.0),
        ("60000000", "own", 60.0),
        ("60000000", "1", None),  # meant for the process that started this one
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_only_where_it_watches_this_process(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, seconds: float | None
) -> None:
    pid = str(os.getpid()) if pid == "own" else pid  # worked out here: parameters name the tests
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds
