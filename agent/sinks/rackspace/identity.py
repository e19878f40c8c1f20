"""
Tokens from Rackspace Identity: had once, shared, renewed before they end, and not asked for again and again.

    token() ─▸ held back? ─▸ AuthExpired, nothing is sent   (unless the key in its file has changed)
            ─▸ due? ─▸ ask ─▸ a new one, or the same for now
    renewed(refused) ─▸ ask ─▸ another one ─▸ try that at once
                            └─▸ the same, or no ─▸ hold back: a minute, two, up to five

A new token is promised only within the last hour of the former, or after it was revoked (docs.rackspace.com,
"manage authentication tokens"): before that Identity hands out the same one again, and asking more often changes
nothing.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import orjson
import structlog

from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled
from agent.far_clock import WORTH_CORRECTING, FarClock
from agent.http import Answer, Credential, HttpOptions, refusal
from agent.schema import Secret
from agent.sinks.rackspace.answers import OVER_LIMIT_PAUSE, words
from agent.sinks.rackspace.catalog import Access, access
from agent.timing import Backoff

if TYPE_CHECKING:
    from agent.http.client import Client

log = structlog.get_logger()

# Before its end, somewhere in here, so that a fleet which started together does not renew together.
EARLIEST, LATEST = 55 * 60.0, 30 * 60.0
HOLD = Backoff(first=60.0, cap=300.0)
# After an attempt to renew early that failed: the token at hand is still good.
AGAIN = 60.0


class Identity:
    """One account's token."""

    def __init__(
        self,
        options: HttpOptions,
        url: str,
        username: str,
        api_key: Secret,
        client: Client,
        clock: FarClock,
        rng: Random,
    ) -> None:
        self._url = f"{url.rstrip('/').removesuffix('/v2.0')}/v2.0/tokens"
        self._username = username
        self._key = Credential(api_key, "api_key", of="rackspace", within=options.timeout)
        self._client = client
        self._clock = clock
        self._rng = rng
        self._lock = asyncio.Lock()
        self._access: Access | None = None
        self._shown = ""  # the key that was last sent
        self._renew_at = self._ends_at = 0.0  # by the loop's clock
        self._held_until = 0.0
        self._holds = 0
        self._reason = ""

    async def token(self) -> Access:
        """The token in use. Raises a DeliveryError where there is none."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now < self._held_until and not await self._has_new_key():
                raise AuthExpired(f"{self._reason}; asked again in {self._held_until - now:.0f} s")
            if self._access is None or now >= self._ends_at:
                return await self._ask()
            if now >= self._renew_at:
                await self._renew_early(now)
            return self._access

    async def renewed(self, refused: str) -> Access:
        """Another token than this one, which the service did not accept. Raises AuthExpired where there is none."""
        async with self._lock:
            if self._access is not None and self._access.token != refused:
                return self._access  # somebody was quicker
            now = asyncio.get_running_loop().time()
            if now < self._held_until and not await self._has_new_key():
                raise AuthExpired(f"{self._reason}; asked again in {self._held_until - now:.0f} s")
            self._access = None  # where Identity is down, nothing is asked with a token that is known to be refused
            got = await self._ask()
            if got.token == refused:
                raise self.hold("the service refuses the token, and Identity hands out the same again")
            return got

    def hold(self, reason: str) -> AuthExpired:
        """Send nothing for a while, longer each time until `accepted`; gives the error to raise."""
        # Not below half: what delivery tries meanwhile must cost nothing.
        wait = HOLD.ceiling(self._holds) * self._rng.uniform(0.5, 1.0)
        self._holds += 1
        self._held_until = asyncio.get_running_loop().time() + wait
        self._reason = reason
        return AuthExpired(reason)

    def accepted(self) -> None:
        """The service took the token."""
        self._holds = 0
        self._held_until = 0.0

    async def _has_new_key(self) -> bool:
        """Whether the file holds another key than the last one sent; then nothing is held back any more."""
        if self._shown and not await self._key.renewed(self._shown):
            return False
        self._held_until = 0.0
        self._access = None
        return True

    async def _renew_early(self, now: float) -> None:
        try:
            await self._ask()
        except DeliveryError as error:
            log.warning("token not renewed yet", sink="rackspace", reason=error.reason, left=round(self._ends_at - now))
            self._held_until = 0.0  # for the token at hand nothing has to be held back
            self._renew_at = min(now + AGAIN, self._ends_at)

    async def _ask(self) -> Access:
        """Have a token. Raises a DeliveryError that says nothing against the event at hand."""
        self._shown = await self._key.read()
        try:
            got = await self._login(self._shown)
        except AuthExpired as error:
            if not await self._key.renewed(self._shown):
                raise self.hold(error.reason) from error
            self._shown = await self._key.read()
            try:
                got = await self._login(self._shown)
            except AuthExpired as again:
                raise self.hold(again.reason) from again
        now = asyncio.get_running_loop().time()
        self._access = got
        self._ends_at = now + got.life
        # Of a short life a part: then the hour before its end would be all of it.
        early = min(self._rng.uniform(LATEST, EARLIEST), got.life * self._rng.uniform(0.2, 0.4))
        self._renew_at = self._ends_at - early
        return got

    async def _login(self, key: str) -> Access:
        body = orjson.dumps({"auth": {"RAX-KSKEY:apiKeyCredentials": {"username": self._username, "apiKey": key}}})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            answer = await self._client.post(self._url, body, headers, hide=[key])
        except Retryable as failure:
            # The event itself was not sent, so there is nothing ambiguous about it.
            raise Retryable(f"Identity: {failure.reason}", operator=failure.operator) from failure
        self._clock.learn(answer.date, self._url, refused=answer.status == 401)
        if refused := _verdict(answer):
            raise refused
        try:
            return access(answer.body, self._now(answer))
        except ValueError as error:
            raise Retryable(
                f"Identity: {error}; is identity_url right?", status=answer.status, operator=True
            ) from error

    def _now(self, answer: Answer) -> float:
        """The time at which it was given, by Identity's clock: the end of a token is by that one."""
        ours = self._clock.now()
        # Date has whole seconds, so it is used where it tells more than ours.
        return answer.date if answer.date is not None and abs(answer.date - ours) > WORTH_CORRECTING else ours


def _verdict(answer: Answer) -> DeliveryError | None:
    """None where Identity gave something, else what is wrong: never the event."""
    status = answer.status
    if status in (200, 203):
        return None
    said = words(answer)
    reason = f"Identity answered {status} {said}".rstrip()
    if status in (400, 401, 403):
        return AuthExpired(reason, status=status, answer=said)
    if status in (413, 429) or (status >= 500 and answer.retry_after is not None):
        pause = OVER_LIMIT_PAUSE if answer.retry_after is None else answer.retry_after
        return Throttled(reason, retry_after=pause, status=status, answer=said)
    usual = refusal(status)
    operator = status < 500 and not (isinstance(usual, Retryable) and not usual.operator)
    return Retryable(reason, status=status, answer=said, operator=operator)
