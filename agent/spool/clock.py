"""
Which clock to believe: how old records are, and what to add to a time that a wrong clock stamped.

Wall clocks are wrong at times: a board without a battery begins in 1970, a dead one in the past. The
clock since boot is never wrong but means nothing after the next boot. So: within one boot, the
distance between the two clocks then and now says what the wall clock has been corrected by. Across
boots the stamped wall time counts, unless the clock that stamped it was known to be wrong.

A time that was shown once proves nothing: it goes on record after the clock has kept it for a while,
so that a jump into the future and back leaves nothing behind.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from agent.spool.frame import WRONG_CLOCK, Header, Stamp

BUILT_MS = 1_764_547_200_000  # 2025-12-01: no clock that shows less is right
STEP_MS = 10_000  # smaller differences are drift and slewing, and are let be
HELD_MS = 600_000  # a clock that was not set for so long is believed


def boottime_ms() -> int:
    """Milliseconds since boot, sleep included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def wall_ms() -> int:
    """Milliseconds since the epoch, as the system has it."""
    return time.time_ns() // 1_000_000


def boot_id() -> bytes:
    """16 bytes that name this boot; where the system gives none, this process."""
    try:
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes
    except (OSError, ValueError):
        return uuid.uuid4().bytes


class Clock:
    """The clocks of this boot, and the latest believed time that the spool has on record."""

    def __init__(
        self,
        known_ms: int = 0,
        *,
        wall: Callable[[], int] = wall_ms,
        boottime: Callable[[], int] = boottime_ms,
        boot: bytes | None = None,
    ) -> None:
        self.known_ms = known_ms  # read from the disk: time does not run backwards across starts
        self.boot = boot_id() if boot is None else boot
        self._wall = wall
        self._boottime = boottime
        self._distance = wall() - boottime()
        self._former: int | None = None  # the distance before the wall clock was set last
        # Else whoever was held up between two looks at the clocks could put an older distance in a newer one's place.
        self._looking = threading.Lock()
        self._held_since = boottime()
        self._was_set = False  # while this process looked on

    def now(self) -> int:
        """The wall clock as it is, milliseconds since the epoch."""
        return self._wall()

    def credible(self) -> bool:
        """Whether the wall clock can be right: later than the program, and than what was seen before."""
        return self._can_be(self.now())

    def _can_be(self, wall_ms: int) -> bool:
        return wall_ms >= max(BUILT_MS, self.known_ms - STEP_MS)

    def note(self) -> int:
        """The latest believed time, for the record."""
        self.distance()
        now = self.now()
        if now >= BUILT_MS and self._boottime() - self._held_since >= HELD_MS:
            # Whoever set the clock back, and left it there, knew better than what it showed before.
            self.known_ms = now if self._was_set else max(self.known_ms, now)
        return self.known_ms

    def distance(self) -> int:
        """Wall clock minus boot clock. It keeps still until the wall clock is really set, so that bytes repeat."""
        with self._looking:
            boottime = self._boottime()
            now = self.now() - boottime
            if abs(now - self._distance) > STEP_MS:
                self._former, self._distance = self._distance, now
                self._held_since, self._was_set = boottime, True
            return self._distance

    def distance_of(self, received_ms: int) -> int:
        """The distance at a wall time of a moment ago: the former one, where the clock was set since."""
        distance, former = self.distance(), self._former
        if former is None:
            return distance
        boottime = self._boottime()
        return min(distance, former, key=lambda each: abs(boottime - (received_ms - each)))

    def steady(self) -> int:
        """Milliseconds since boot: the clock that nobody sets."""
        return self._boottime()

    def stamp(self, oldest_ms: int, newest_ms: int, distance: int) -> Stamp:
        """The stamp for records that arrived at these wall times, when that was the `distance`."""
        flags = 0 if self._can_be(self._boottime() + distance) else WRONG_CLOCK
        return Stamp(oldest_ms, newest_ms, oldest_ms - distance, newest_ms - distance, self.boot, flags)

    def correction(self, header: Header, distance: int) -> tuple[int, bool]:
        """What to add to a frame's wall times at that `distance`, and whether its age can be known at all."""
        if header.boot != self.boot:
            return 0, self.credible() and not header.flags & WRONG_CLOCK
        step = distance - (header.newest_ms - header.newest_boot_ms)
        if abs(step) <= STEP_MS:
            return 0, True  # the clock went on undisturbed, right or wrong
        # Set since then. Where it shows nonsense now, neither time says anything about the other.
        return (step, True) if self.credible() else (0, False)
