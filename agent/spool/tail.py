"""
What was written last, kept in memory as it stands on disk: who keeps up with the writer touches no file.

Opening a file, reading it in pieces and closing it again hands the interpreter's lock to and fro a dozen times a batch,
while the event loop wants it.
"""

from __future__ import annotations

TAIL_BYTES = 512 * 1024  # of one lane: a batch or two, and what is written while they are read


class Tail:
    """The last frames of a lane. The writer's thread adds, any thread asks."""

    def __init__(self) -> None:
        self._frames: dict[tuple[int, int], bytes] = {}
        self._bytes = 0

    def add(self, segment: int, offset: int, frame: bytes) -> None:
        """A frame is durable (as far as the setting promises); the oldest make room for it."""
        self._frames[segment, offset] = frame
        self._bytes += len(frame)
        while self._bytes > TAIL_BYTES:
            self._bytes -= len(self._frames.pop(next(iter(self._frames))))

    def at(self, segment: int, offset: int) -> bytes | None:
        """The frame that begins there, where it is still at hand."""
        return self._frames.get((segment, offset))
