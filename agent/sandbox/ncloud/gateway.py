r"""
The gateway's questions to every request: who is it, is the clock right, may it, and not too often.

Signature version 2 ("Ncloud API: request and response"): the base64 of an HMAC-SHA256 under the secret key, over
`{method} {path and query}\n{timestamp}\n{access key}`. The path and query are the bytes of the request line.
"""

from __future__ import annotations

import base64
import hmac
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from multidict import CIMultiDictProxy

from agent.sandbox.ncloud.answers import INVALID, MISSING, RefusedError
from agent.sandbox.ncloud.settings import Settings

TIMESTAMP = "x-ncp-apigw-timestamp"
ACCESS_KEY = "x-ncp-iam-access-key"
SIGNATURE = "x-ncp-apigw-signature-v2"
SECRETS = frozenset({ACCESS_KEY, SIGNATURE, "x-ncp-apigw-signature-v1", "authorization", "proxy-authorization"})
RIGHTS = frozenset({"send", "query", "schema", "dashboard", "dataflow"})


@dataclass(frozen=True, slots=True)
class Key:
    """An access key, its secret, and what it may call."""

    id: str
    secret: str = field(repr=False)
    rights: frozenset[str] = RIGHTS


class Keys:
    """The keys in force; they come and go while it serves."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: dict[str, Key] = {}
        for key in keys:
            self.add(key)

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._keys.values()))

    def add(self, key: Key) -> None:
        """From now on; a key of the same id is replaced."""
        if unknown := key.rights - RIGHTS:
            raise ValueError(f"no such right: {', '.join(sorted(unknown))}")
        self._keys[key.id] = key

    def revoke(self, key_id: str) -> None:
        """No longer; a key that is not there is simply invalid."""
        self._keys.pop(key_id, None)

    def find(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)


def signature(key: Key, method: str, target: bytes, timestamp: str) -> str:
    """What the signature header must be."""
    text = b"%s %s\n%s\n%s" % (method.encode(), target, timestamp.encode(), key.id.encode())
    return base64.b64encode(hmac.new(key.secret.encode(), text, "sha256").digest()).decode()


def authenticate(
    keys: Keys, headers: CIMultiDictProxy[str], method: str, target: bytes, now_ms: int, skew: float
) -> Key:
    """The key that a request is signed with. RefusedError where it is not, or not with a timestamp near enough."""
    given = [headers.getall(name, []) for name in (TIMESTAMP, ACCESS_KEY, SIGNATURE)]
    if not all(values and values[0] for values in given):
        raise RefusedError("200", MISSING)
    if any(len(values) > 1 for values in given):
        raise RefusedError("200", INVALID)
    (timestamp,), (key_id,), (signed,) = given
    key = keys.find(key_id)
    # Whatever is wrong is said in the same words: which of key, signature and clock it was, the far side keeps.
    if key is None or not _near(timestamp, now_ms, skew):
        raise RefusedError("200", INVALID)
    wanted = signature(key, method, target, timestamp)
    if not hmac.compare_digest(wanted.encode(), signed.encode("utf-8", "surrogateescape")):
        raise RefusedError("200", INVALID)
    return key


def _near(timestamp: str, now_ms: int, skew: float) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 20):
        return False
    return abs(int(timestamp) - now_ms) < skew * 1000


class Rate:
    """How many requests there were in the last minute of the gateway's clock."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def count(self, settings: Settings, now_ms: int) -> None:
        """One more. RefusedError above the limit; that one counts, too."""
        times = self._times
        times.append(now_ms)
        while times and not 0 <= now_ms - times[0] < 60_000:
            times.popleft()
        limit = settings.requests_per_minute
        if limit is not None and len(times) > limit:
            raise RefusedError(settings.limit_code, "Too many requests.", retry_after=settings.retry_after)
