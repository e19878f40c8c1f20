"""Where a broker is: URLs, TLS contexts, and what can be wrong with them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
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
    parts = urlsplit(url)
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


def tls_context(ca_file: Path | None, cert: Path | None, key: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """A context for connections to the broker. Reads files. Raises OSError (ssl.SSLError is one)."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    if cert is not None:
        context.load_cert_chain(cert, key)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
