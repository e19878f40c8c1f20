"""Which proxy a request goes through, and how to log in there."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy to go through, and how to log in there."""

    url: str
    login: str = field(default="", repr=False)  # for Proxy-Authorization

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no answer may repeat: the login as it is sent, and the password in it."""
        return (self.login, b64decode(self.login).decode().partition(":")[2]) if self.login else ()


def environment_proxy(url: str) -> Proxy | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY (or their lower-case forms) name for a URL."""
    from urllib.request import getproxies_environment, proxy_bypass  # few ask for it

    parts = urlsplit(url)
    proxies = getproxies_environment()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass(parts.netloc):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    netloc = proxy.netloc.rpartition("@")[2]
    login = basic(unquote(proxy.username), unquote(proxy.password or "")) if proxy.username else ""
    return Proxy(urlunsplit((proxy.scheme, netloc, "", "", "")), login)


def basic(user: str, password: str) -> str:
    """The credentials of HTTP's Basic scheme."""
    return b64encode(f"{user}:{password}".encode()).decode()
