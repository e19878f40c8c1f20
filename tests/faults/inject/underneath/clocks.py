"""The wall clock, moved by the control file's offset, and the one that timers go by, by what has passed at once."""

from __future__ import annotations

import time

from .rules import Control

_monotonic = time.monotonic
_time, _time_ns, _get, _get_ns = time.time, time.time_ns, time.clock_gettime, time.clock_gettime_ns


def install(control: Control) -> None:
    """Put them in place. What asks the system by itself (`datetime.now`, OpenSSL, the files' times) sees no jump."""

    def moved() -> float:
        return _time() + control.offset

    def moved_ns() -> int:
        return _time_ns() + int(control.offset * 1e9)

    def clock_gettime(clock: int) -> float:
        return _get(clock) + (control.offset if clock == time.CLOCK_REALTIME else 0.0)

    def clock_gettime_ns(clock: int) -> int:
        return _get_ns(clock) + (int(control.offset * 1e9) if clock == time.CLOCK_REALTIME else 0)

    time.monotonic = lambda: _monotonic() + control.passed
    time.time, time.time_ns = moved, moved_ns
    time.clock_gettime, time.clock_gettime_ns = clock_gettime, clock_gettime_ns
