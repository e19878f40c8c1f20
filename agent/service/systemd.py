"""Speaks with systemd: the sd_notify protocol (one datagram to $NOTIFY_SOCKET), and what its watchdog wants."""

from __future__ import annotations

import os
import socket
import time


def notify(text: str) -> bool:
    """Send `KEY=value` lines. True when they were sent; False where nobody listens (no systemd)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):  # vsock, or not set: nothing of ours
        return False
    if address[0] == "@":  # the abstract namespace, as containers get it
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            # A busy manager (daemon-reload) may leave the datagram waiting: briefly, or this one is
            # dropped. The watchdog's next one comes within a third of its limit.
            sock.settimeout(1.0)
            sock.connect(address)
            sock.sendall(text.encode())
    except OSError:
        return False
    return True


def ready(status: str = "") -> bool:
    """The service works, or works again after a reload."""
    return notify("READY=1" + _status(status))


def reloading() -> bool:
    """The configuration is being read again; `ready` ends it."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(status: str = "") -> bool:
    """The service is on its way down."""
    return notify("STOPPING=1" + _status(status))


def status(text: str) -> bool:
    """One line for `systemctl status`."""
    return notify(_status(text)[1:])


def extend(seconds: float) -> bool:
    """Starting or stopping takes at least that much longer (a long recovery)."""
    return notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")


def _status(text: str) -> str:
    # A line break would begin another assignment.
    return "\nSTATUS=" + " ".join(text.split()) if text else ""


def watchdog_seconds() -> float | None:
    """The time within which systemd wants to hear from this process; None: it does not watch us."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for a parent of ours
    return int(microseconds) / 1_000_000
