"""
Who may call: the far side's RBAC, with an RS256 check of its own.

The key is a toy (made in milliseconds, of `random`): it keeps nobody out, it tells a right signature from a wrong one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

INGEST = ("ingestor", "dataset_creator", "dataset_manager", "admin")
GENERAL = ("viewer", "dataset_creator", "dataset_manager", "operations_admin", "admin")
CREATE = ("dataset_creator", "dataset_manager", "admin")
TRANSITION = ("dataset_manager", "admin")
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")  # DigestInfo of PKCS #1 v1.5
_EXPONENT = 65537


class NoAnswerError(Exception):
    """The token is no JWT: the far side's handler dies without answering."""


class DeniedError(Exception):
    """401 or 403 with what is said."""

    def __init__(self, status: Literal[401, 403], message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True, slots=True)
class Key:
    """An RSA key: `modulus` is public, `secret` signs."""

    modulus: int
    secret: int = field(repr=False)

    @classmethod
    def make(cls, bits: int = 1024) -> Key:
        """A fresh one."""
        while True:
            p, q = _prime(bits // 2), _prime(bits // 2)
            phi = (p - 1) * (q - 1)
            if p != q and phi % _EXPONENT:
                return cls(p * q, pow(_EXPONENT, -1, phi))

    def token(self, claims: Mapping[str, Any]) -> str:
        """A JWT with these claims, signed."""
        text = f"{_encode({'alg': 'RS256', 'typ': 'JWT'})}.{_encode(claims)}"
        signature = pow(self._padded(text), self.secret, self.modulus).to_bytes(self._size, "big")
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def signed(self, text: str, signature: bytes) -> bool:
        """Whether this key signed that text."""
        return pow(int.from_bytes(signature, "big"), _EXPONENT, self.modulus) == self._padded(text)

    @property
    def _size(self) -> int:
        return (self.modulus.bit_length() + 7) // 8

    def _padded(self, text: str) -> int:
        digest = _SHA256 + hashlib.sha256(text.encode()).digest()
        return int.from_bytes(b"\0\1" + b"\xff" * (self._size - len(digest) - 3) + b"\0" + digest, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rbac:
    """The rules when `is_rbac_enabled`; `users` are the rows of oauth_users with their roles."""

    key: Key = field(default_factory=Key.make)
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self, header: str | None, allowed: Sequence[str] = INGEST) -> None:
        """Raise DeniedError or NoAnswerError unless the header's second word is a token of an allowed role."""
        words = (header or "").split(" ")
        if len(words) < 2 or not words[1]:
            raise DeniedError(401, "No token provided")
        roles = self._roles(words[1])
        if not set(roles) & set(allowed):
            raise DeniedError(
                403,
                "Access denied. User does not have permission to perform this action. "
                f"The following roles have access to this action: {', '.join(allowed)}.",
            )

    def _roles(self, token: str) -> Sequence[str]:
        header, claims, signature = _parts(token)
        if "roles" not in claims:  # a gateway is trusted to have checked it
            user = claims.get("sub")
            if not isinstance(user, str) or user not in self.users:
                raise DeniedError(401, "Token decode error")
            return self.users[user]
        roles, now = claims["roles"], time.time()
        text = token.rpartition(".")[0]
        fresh = claims.get("exp", now + 1) > now >= claims.get("nbf", now)
        if header.get("alg") != "RS256" or not fresh or not isinstance(roles, list):
            raise DeniedError(401, "Token verification error")
        if not self.key.signed(text, signature):
            raise DeniedError(401, "Token verification error")
        return roles


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    try:
        header, claims, signature = token.split(".")
        values = [json.loads(_decode(part)) for part in (header, claims)]
        if not all(isinstance(value, dict) for value in values):
            raise ValueError("not an object")
        return values[0], values[1], _decode(signature)
    except ValueError as error:
        raise NoAnswerError from error


def _encode(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _prime(bits: int) -> int:
    while True:
        number = random.getrandbits(bits) | 1 | 3 << (bits - 2)
        if all(number % small for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)) and _is_prime(number):
            return number


def _is_prime(number: int) -> bool:
    """Miller-Rabin, enough for a key of no worth."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(8):
        x = pow(random.randrange(2, number - 1), odd, number)
        if x in (1, number - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % number
            if x == number - 1:
                break
        else:
            return False
    return True
