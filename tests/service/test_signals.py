"""Signals, sent to real processes."""

from __future__ import annotations

import signal
import subprocess

from children import finish, manager, run, start

# Says where it is on standard output; what it does on a signal comes after.
SERVICE = """
import asyncio, sys, time
from agent.service import ready, serve, setup_logging

def say(word):
    print(word, flush=True)

async def main(asked):
    setup_logging("info", "text")
    say("up")
    ready("up")
    %s
    return 0

sys.exit(serve(main))
"""
STOPS = SERVICE % "await asked.stop.wait(); say('winding down')"
HANGS = SERVICE % "await asked.stop.wait(); say('winding down'); await asyncio.sleep(60)"
BLOCKS = SERVICE % "await asked.stop.wait(); await asyncio.sleep(1); say('winding down'); time.sleep(60)"
RELOADS = (
    SERVICE % "await asked.reload.wait(); asked.reload.clear(); say('read again'); await asyncio.wait_for("
    "asked.reload.wait(), 20); say('and again'); await asked.stop.wait()"
)


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_term_and_int_stop_it_in_order() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        child = start(STOPS)
        assert line(child) == "up"
        child.send_signal(number)
        code, out, err = finish(child)
        assert (code, out) == (0, "winding down\n"), err
        assert f"signal={number.name}" in err


def test_systemd_is_told_that_it_stops() -> None:
    with manager() as systemd:
        child = start(STOPS, NOTIFY_SOCKET=systemd.address)
        assert systemd.hear() == "READY=1\nSTATUS=up"
        child.send_signal(signal.SIGTERM)
        assert systemd.hear().startswith("STOPPING=1")
        assert finish(child)[0] == 0


def test_the_echo_of_a_signal_is_no_second_wish() -> None:
    child = start(SERVICE % "await asked.stop.wait(); await asyncio.sleep(0.2); say('wound down')")
    assert line(child) == "up"
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    code, out, _ = finish(child)
    assert (code, out) == (0, "wound down\n")


def test_a_second_one_ends_it_at_once() -> None:
    child = start(HANGS)
    assert line(child) == "up"
    child.send_signal(signal.SIGTERM)
    assert line(child) == "winding down"
    # Until the echo of the first is over, another one says nothing new.
    while child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert finish(child)[0] == -signal.SIGTERM


def test_a_second_one_ends_it_even_where_the_loop_no_longer_turns() -> None:
    child = start(BLOCKS)
    assert line(child) == "up"
    child.send_signal(signal.SIGTERM)
    assert line(child) == "winding down"
    child.send_signal(signal.SIGINT)
    assert finish(child, timeout=5)[0] == -signal.SIGINT


def test_hup_asks_for_a_reload_and_ends_nothing() -> None:
    child = start(RELOADS)
    assert line(child) == "up"
    child.send_signal(signal.SIGHUP)
    assert line(child) == "read again"
    child.send_signal(signal.SIGHUP)
    assert line(child) == "and again"
    child.send_signal(signal.SIGTERM)
    assert finish(child)[0] == 0


def test_an_error_that_ends_it_is_said_once_and_becomes_the_exit_code() -> None:
    for raised, code, said in (
        ("from agent.errors import StateLocked; raise StateLocked('process 7 has it')", 75, "process 7 has it"),
        ("raise OSError(28, 'No space left on device')", 74, "No space left on device"),
        ("raise ExceptionGroup('tasks', [OSError(98, 'Address already in use')])", 69, "Address already in use"),
        ("raise ValueError('never thought of')", 70, "ValueError: never thought of"),
    ):
        ended, _, err = run(SERVICE % raised)
        assert ended == code, err
        assert err.count(said) == 1
        assert ("Traceback" in err) == (code == 70)


def test_a_hang_says_where_when_systemd_loses_patience() -> None:
    child = start(SERVICE % "def stuck_here():\n        say('stuck')\n        time.sleep(60)\n    stuck_here()")
    assert line(child) == "up"
    assert line(child) == "stuck"
    child.send_signal(signal.SIGABRT)
    code, _, err = finish(child)
    assert code == -signal.SIGABRT
    assert "in stuck_here" in err
