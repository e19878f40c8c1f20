"""How much may be sent: the size of a batch, which shrinks where it proves too large, and the bodies held in memory."""

from __future__ import annotations

SMALLEST = 4096  # a far side that takes less than this at once is asked with single records anyway
GROW_AFTER = 100  # accepted batches
GROW_BY = 1.1
BODIES = 8 * 1024 * 1024  # bytes of packed bodies in memory, over all sinks


class Window:
    """
    The most bytes of data a batch may have just now.

    Shrinks when the far side finds a batch too large, so that the next ones do not each pay the split,
    and grows back slowly.
    """

    def __init__(self, configured: int) -> None:
        self.configured = configured
        self.size = configured
        self._accepted = 0

    def too_large(self, size: int) -> bool:
        """Data of that size was refused for its size. True when the window shrank."""
        wanted = min(self.configured, max(SMALLEST, size // 2))
        self._accepted = 0
        if wanted >= self.size:
            return False
        self.size = wanted
        return True

    def accepted(self) -> None:
        """A batch was taken."""
        if self.size < self.configured:
            self._accepted += 1
            if self._accepted >= GROW_AFTER:
                self._accepted = 0
                self.size = min(self.configured, int(self.size * GROW_BY))


class Bodies:
    """
    The bytes of packed bodies that all sinks hold together, in equal shares: a hanging sink starves nobody.

    A body beyond the share is not kept but made again when its turn comes.
    """

    def __init__(self, limit: int = BODIES) -> None:
        self.limit = limit
        self._shares: list[Share] = []

    @property
    def held(self) -> int:
        """What is held just now."""
        return sum(share.held for share in self._shares)

    @property
    def each(self) -> int:
        """The size of a share."""
        return self.limit // max(1, len(self._shares))

    def share(self) -> Share:
        """The share of one sink more; those of the others become smaller."""
        share = Share(self)
        self._shares.append(share)
        return share

    def leave(self, share: Share) -> None:
        """Its sink is no more: what it had is for the others."""
        self._shares.remove(share)


class Share:
    """The bodies of one sink. One in flight is granted whatever its size."""

    def __init__(self, bodies: Bodies) -> None:
        self.held = 0
        self._bodies = bodies

    def take(self, size: int, *, sure: bool = False) -> bool:
        """Count a body in; False: there is no room for it. `sure`: it is the only one in flight."""
        if not sure and self.held + size > self._bodies.each:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """A body is held no longer."""
        self.held -= size
