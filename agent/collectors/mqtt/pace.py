"""
When to read: the rhythm of one connection.

Wake-ups, not parsing, are what messages cost at real rates. So under a steady load the transport is paused
for a moment after each read, and the next read finds many messages. The pause grows to ten times what is
configured, and shrinks where what it gathers is more than half of the broker's window, or of what the socket
can hold: a broker that cannot send lets QoS 0 messages fall. After a quiet moment nothing waits. While too much
of what was read waits for the disk, reading is held altogether, and TCP tells the broker.

A broker may keep to a smaller window than it was granted, and never says so; a full socket buffer is such a window,
too. Then every pause finds the same number of messages, however long it is, and the broker waits for us. A source
that is very even looks the same: so a shorter pause is tried, and if as many messages stand there at its end, their
number is the window. Sources change: that is believed for a while, and then found out again.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable

# Under a steady load the pause grows up to this many times the configured one: the load itself shows that
# nobody looks at single messages.
STRETCH = 10.0
SHORTEST = 0.001  # seconds; a pause below this is not worth its timer
# So many pauses in a row that gather the same number of messages are looked into, and again after so many more.
SAME, SAME_AGAIN = 4, 50
# What is read within this part of a pause after its end was there before: a window is full then. Messages that come
# one by one, or in bursts of one size, and are read as they come say nothing of a window.
AT_ONCE = 0.1
# Bytes that the kernel is to hold for us while we pause; it may grant less. What it says is twice what it grants.
RECEIVE_BUFFER = 512 * 1024
BELIEVED = 500  # reads after which a window that was found is forgotten


class Pace:
    """Pauses and resumes one transport."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coalesce: float, window: int) -> None:
        """`window`: how many messages the broker sends without our acknowledgement."""
        self._loop = loop
        self._coalesce = coalesce
        # With half of the window taken up by what one pause gathers, the broker never waits for us.
        self._granted = self._room = window / 2
        self._believed = 0  # reads until it is that of the granted window again
        self._pause = coalesce
        self._gathered = self._bytes = 0  # messages and bytes since the last pause
        self._most_bytes = math.inf
        self._last = 0  # gathered by the pause before
        self._same = 0  # pauses before it that gathered as many
        self._probing = False  # this pause is cut short
        self._since = loop.time()  # when reading began, again
        self._transport: asyncio.Transport | None = None
        self._limit: Callable[[int | None], None] | None = None  # under TLS
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self.held = False
        self.longest = math.inf  # seconds: no pause is longer

    def begin(self, transport: asyncio.Transport) -> None:
        """Read from that transport."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._most_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / 4
        if transport.get_extra_info("sslcontext") is not None:
            self._limit = getattr(transport, "set_read_buffer_limits", None)

    def end(self) -> None:
        """It closes, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None and self._limit is not None:
            self._limit(None)  # or the broker's good-bye is never read
        self._transport = None

    def after_read(self, messages: int, size: int = 0, *, at_once: bool) -> None:
        """
        So many messages of together `size` bytes were read: go on after a moment, or now.

        `at_once`: there was more than we could take.
        """
        self._bytes += size
        if not messages:
            return
        now = self._loop.time()
        self._gathered += messages
        if at_once:
            self._since = now
            return
        gathered, self._gathered = self._gathered, 0
        bytes_gathered, self._bytes = max(1, self._bytes), 0
        if now - self._since >= self._coalesce:
            # It took longer for data to come than a pause lasts: a pause would gather nothing.
            self._pause, self._since = self._coalesce, now
            self._probing = False
            return
        self._look_for_window(gathered, there=now - self._since < self._pause * AT_ONCE)
        grown = max(self._pause, SHORTEST) * min(1.25, self._room / gathered, self._most_bytes / bytes_gathered)
        self._pause = min(grown, self._coalesce * STRETCH, self.longest)
        if self._pause < SHORTEST:
            self._since = now
            return
        self._stop()
        self._timer = self._loop.call_later(self._pause / 2 if self._probing else self._pause, self._go_on)

    def _look_for_window(self, messages: int, *, there: bool) -> None:
        """Find out whether the broker's window limits what a pause gathers. `there`: it stood there at its end."""
        self._believed -= 1
        if not self._believed:
            self._room = self._granted
        same, self._last = messages == self._last, messages
        if self._probing:
            self._probing = False
            self._same = 0 if same else -SAME_AGAIN
            if same and there:
                self._room, self._believed = min(messages / 2, self._granted), BELIEVED
            return
        self._same = self._same + 1 if same and there else min(self._same, 0)
        self._probing = self._same >= SAME

    def hold(self) -> None:
        """Read nothing until `release`."""
        self.held = True
        self._stop()

    def release(self) -> None:
        """Read again."""
        if self.held:
            self.held = False
            self._go_on()

    def _stop(self) -> None:
        if self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            if self._limit is not None:
                # Under TLS a paused transport goes on reading, into a buffer of its own: let that be full at once.
                # Not before the read we are in has ended, which would look at the limit again and take it back.
                self._loop.call_soon(self._close_tap)

    def _close_tap(self) -> None:
        if self._paused and self._transport is not None and self._limit is not None:
            self._limit(0)

    def _go_on(self) -> None:
        self._timer = None
        if self._transport is not None and not self.held:
            self._paused = False
            self._since = self._loop.time()
            if self._limit is not None:
                self._limit(None)
            self._transport.resume_reading()
