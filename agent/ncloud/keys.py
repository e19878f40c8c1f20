"""The pair of keys that requests are signed with: read off the loop, and read again once it has been refused."""

from __future__ import annotations

from typing import NamedTuple

import structlog

from agent.aside import aside
from agent.errors import AuthExpired
from agent.schema import Secret

log = structlog.get_logger()


class Pair(NamedTuple):
    """An access key and its secret. Never printed."""

    access: str
    secret: str

    def __repr__(self) -> str:
        return "***"


class Keys:
    """The pair as the configuration or its files have it; `of` says in the log whose it is."""

    def __init__(self, access: Secret, secret: Secret, *, of: str, within: float) -> None:
        self._access = access
        self._secret = secret
        self._of = of
        self._within = within
        self._pair: Pair | None = None

    async def read(self) -> Pair:
        """The pair in use. Raises AuthExpired where it cannot be read, or sent."""
        if self._pair is None:
            self._pair = await self._fresh()
        return self._pair

    async def renewed(self, refused: Pair) -> bool:
        """Whether there is another pair than this one, which the far side did not accept."""
        if self._pair == refused:
            fresh = await self._fresh()
            # Another request may have found the same meanwhile; it is told once.
            if self._pair == refused and fresh != refused:
                self._pair = fresh
                log.info("credentials read again, they have changed", far_side=self._of, what="keys")
        return self._pair != refused

    async def _fresh(self) -> Pair:
        def read() -> Pair:
            return Pair(self._access.reveal(fresh=True), self._secret.reveal(fresh=True))

        try:
            pair = await aside(read, kind=(self._access, self._secret), within=self._within)
        except (OSError, ValueError) as error:
            raise AuthExpired(f"the keys cannot be read: {type(error).__name__}") from error
        for name, text in zip(("access key", "secret key"), pair, strict=True):
            if not text or not text.isascii() or not text.isprintable() or " " in text:
                raise AuthExpired(f"the {name} is empty or holds what none can")
        return pair
