"""Where a broker is: URLs, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address."""

    scheme: str
    host: str
    port: int
    path: str  # of a websocket

    @property
    def tls(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        return self.scheme in ("ws", "wss")


def parse_url(url: str) -> Endpoint:
    """The address that a URL names. Raises ValueError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None  # its own words repeat parts of it
    if parts.scheme not in PORTS:
        raise ValueError("expected mqtt://, mqtts://, ws:// or wss:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password have options of their own: username, password")
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.query or parts.fragment or (parts.path.strip("/") and parts.scheme in ("mqtt", "mqtts")):
        raise ValueError("expected nothing after the host and port")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port is no number up to 65535") from None
    return Endpoint(parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path or "/mqtt")
