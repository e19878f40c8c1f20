"""A secret as a far side is shown it: read off the loop, and read again once the far side has refused it."""

from __future__ import annotations

from functools import partial

import structlog

from agent.aside import aside
from agent.errors import AuthExpired
from agent.schema import Secret

log = structlog.get_logger()


class Credential:
    """
    What a Secret holds, kept until it is refused.

    `name` says in logs and errors what it is ("token"), `of` whose ("obsrv").
    """

    def __init__(self, secret: Secret | None, name: str, *, of: str, within: float) -> None:
        self._secret = secret
        self._name = name
        self._of = of
        self._within = within
        self._text: str | None = None
        self._refused: str | None = None  # what the far side did not accept

    async def read(self) -> str:
        """The text, "" where there is no secret. Raises AuthExpired where it cannot be read or sent."""
        if not self._secret:
            return ""
        if self._text is None:
            text = await self._fresh(self._secret)
            # Told once, though several requests may have been refused and wait for it.
            if self._text is None and self._refused is not None and text != self._refused:
                log.info("credentials read again, they have changed", far_side=self._of, what=self._name)
            self._text = text
        return self._text

    async def renewed(self, refused: str) -> bool:
        """Whether there is another text than this one, which the far side did not accept."""
        if self._text == refused:
            self._text, self._refused = None, refused
        return await self.read() != refused

    async def _fresh(self, secret: Secret) -> str:
        try:
            text = await aside(partial(secret.reveal, fresh=True), kind=secret, within=self._within)
        except (OSError, ValueError) as error:
            raise AuthExpired(f"the {self._name} cannot be read: {type(error).__name__}") from error
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise AuthExpired(f"the {self._name} is empty or holds what none can")
        return text
