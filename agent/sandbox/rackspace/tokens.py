"""
Identity's users and the tokens it has given out.

The same token is given out until its last hour; a new one only then, or after a revocation. Source: docs.rackspace.com
"manage authentication tokens" and "introduction to encrypted authenticated tokens".
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field

from agent.sandbox.rackspace.clock import Clock

_LETTERS = string.ascii_letters + string.digits + "-_"


class CredentialsError(Exception):
    """Who asks is not known, or not by this key."""


class DisabledError(Exception):
    """Who asks may not."""


@dataclass(slots=True, kw_only=True)
class User:
    """One account; its first tenant is the one it is for unless told."""

    username: str = "agent"
    api_key: str = field(default="key-of-the-sandbox", repr=False)
    tenants: tuple[str, ...] = ("123456",)
    enabled: bool = True


@dataclass(slots=True, kw_only=True)
class Token:
    """One token given out."""

    id: str = field(repr=False)
    username: str
    tenant: str
    expires: float
    revoked: bool = False
    distrusted: bool = False  # the metrics service refuses it, Identity knows nothing of that


class Tokens:
    """The users, their tokens, and whether one is good."""

    def __init__(self, clock: Clock, users: tuple[User, ...], *, life: float = 86400.0, renew_within: float = 3600.0):
        self.clock = clock
        self.users = {user.username: user for user in users}
        self.life = life
        self.renew_within = renew_within
        self._tokens: list[Token] = []

    def authenticate(self, username: str, api_key: str, tenant: str | None) -> tuple[Token, bool]:
        """The token and whether it is the same as before; raises CredentialsError or DisabledError."""
        user = self.users.get(username)
        if user is None or user.api_key != api_key:
            raise CredentialsError("Unable to authenticate user with credentials provided.")
        if not user.enabled:
            raise DisabledError(f"User '{username}' is disabled.")
        if tenant is not None and tenant not in user.tenants:
            raise CredentialsError(f"Tenant with Name/Id: '{tenant}' is not valid for User '{username}'")
        chosen = tenant or user.tenants[0]
        for token in self._tokens:
            if (token.username, token.tenant) == (username, chosen) and self._lasts(token):
                return token, True
        # Opaque, of no fixed length, at most 250 characters.
        name = "".join(random.choices(_LETTERS, k=random.randrange(120, 251)))
        token = Token(id=name, username=username, tenant=chosen, expires=self.clock.now() + self.life)
        self._tokens.append(token)
        return token, False

    def good(self, name: str | None, tenant: str | None) -> bool:
        """Whether the metrics service takes it for that tenant (None: for any)."""
        token = self.find(name)
        return token is not None and not token.distrusted and tenant in (None, token.tenant)

    def find(self, name: str | None) -> Token | None:
        """A token that is neither revoked nor over."""
        for token in self._tokens:
            if token.id == name and not token.revoked and self.clock.now() < token.expires:
                return token
        return None

    def revoke(self, name: str) -> None:
        for token in self._tokens:
            if token.id == name:
                token.revoked = True

    def revoke_all(self) -> None:
        """Every token is refused from now on, and a new one is given to who asks."""
        for token in self._tokens:
            token.revoked = True

    def distrust(self) -> None:
        """The metrics service refuses the tokens given out so far; Identity goes on giving out the same."""
        for token in self._tokens:
            token.distrusted = True

    def rotate(self, username: str, api_key: str, *, revoke: bool = True) -> None:
        """Another key, for a user there is or for a new one; the former tokens end unless told otherwise."""
        user = self.users.setdefault(username, User(username=username))
        user.api_key = api_key
        for token in self._tokens:
            if token.username == username:
                token.revoked = token.revoked or revoke

    def _lasts(self, token: Token) -> bool:
        return not token.revoked and self.clock.now() < token.expires - self.renew_within
