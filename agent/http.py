"""
One HTTP client for every sink, and what a response means for the data.

This is the rim: whatever aiohttp, ssl or the system raise is translated here, once, into DeliveryErrors.
The question behind each line is whether the far side may have taken the batch (`ambiguous`), and
whether only a person can mend it (`operator`).
"""

from __future__ import annotations

import os
import socket
import ssl
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from agent import __version__
from agent.aside import aside
from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.options import secret_in_the_clear
from agent.schema import Duration, Secret, option

MAX_ANSWER = 64 * 1024  # a far side that says more than this is not listened to
MAX_QUOTE = 300  # characters of an answer that an error repeats
LONGEST_PAUSE = 3600.0  # an absurd Retry-After must not stop a sink for good
DEFAULT_PAUSE = 5.0  # a 429 that does not say how long
SHORTEST_SECRET = 4  # below that, hiding a secret would garble every answer


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The options that every HTTP sink takes."""

    timeout: Duration = option("Longest time for one request, from connecting to the end of the answer.", 30.0, low=1.0)
    connect_timeout: Duration = option("Longest time for name look-up, connecting and TLS together.", 5.0, low=0.1)
    proxy: str | None = option(
        "Proxy to send through. The environment is not looked at; a variable can be put in by name.",
        None,
        default_text="none",
        example="${HTTPS_PROXY}",
    )
    proxy_user: str | None = option("User name for the proxy.", None, default_text="none", example="agent")
    proxy_password: Secret | None = option(
        "Password for the proxy.", None, default_text="none", example="credential:proxy"
    )
    ca_file: Path | None = option(
        "PEM file of the authorities to trust.",
        None,
        default_text="the system's",
        example="/etc/ssl/private-ca.pem",
        must_exist=True,
    )
    client_cert: Path | None = option(
        "PEM file of the certificate to show (mTLS).",
        None,
        default_text="none",
        example="/etc/telemetry-agent/cert.pem",
        must_exist=True,
    )
    client_key: Path | None = option(
        "PEM file of its key.",
        None,
        default_text="within client_cert",
        example="/etc/telemetry-agent/key.pem",
        must_exist=True,
    )
    allow_insecure: bool = option("Whether secrets may cross the network over plain http.", False)


def option_problems(options: HttpOptions) -> list[tuple[str, str]]:
    """What is wrong with the options among each other, as (option, text)."""
    problems = []
    if options.client_key and not options.client_cert:
        problems.append(("client_key", "needs client_cert"))
    if options.connect_timeout > options.timeout:
        problems.append(("connect_timeout", "is longer than timeout, which includes it"))
    if options.proxy:
        problems += url_problems("proxy", options.proxy, options.proxy_password, options)
    elif options.proxy_user:
        problems.append(("proxy_user", "needs proxy"))
    if options.proxy_password and not options.proxy_user:
        problems.append(("proxy_password", "needs proxy_user"))
    return problems


def url_problems(name: str, url: str, secret: Secret | None, options: HttpOptions) -> list[tuple[str, str]]:
    """What is wrong with a URL to which requests go with a secret, as (option, text)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" not in host:
            host.encode("idna")  # a label that is empty or too long
    except ValueError as error:
        return [(name, f"not a URL: {error}")]
    if parts.scheme not in ("http", "https") or not host or " " in host or port == 0:
        return [(name, 'expected a URL such as "https://host:port"')]
    if parts.username or parts.password:
        return [(name, "holds a user name or a password: they have options of their own")]
    if parts.query or parts.fragment:
        return [(name, "must end before any ? or #")]
    return secret_in_the_clear(url, secret, allow_insecure=options.allow_insecure, option=name)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the far side said, free of our secrets, never longer than MAX_ANSWER."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def date(self) -> float | None:
        """The far side's clock in epoch seconds, as its Date header tells."""
        return _http_date(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds of pause it asks for, where it asks: between 0 and LONGEST_PAUSE."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), LONGEST_PAUSE)
        until = _http_date(text)
        if until is None:
            return None
        # The difference of two of its own times, so that a wrong clock here changes nothing.
        return min(max(until - (self.date or time.time()), 0.0), LONGEST_PAUSE)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@asynccontextmanager
async def open_client(options: HttpOptions, *, keepalive: float = 15.0) -> AsyncIterator[Client]:
    """A client. Connections idle for `keepalive` seconds are dropped: choose less than the far side does."""
    # How many requests go at a time is delivery's business; a second bound here could only make them wait.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=options.timeout, connect=options.connect_timeout, sock_connect=options.connect_timeout
        ),
        headers={"User-Agent": f"telemetry-agent/{__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,  # it knows no bound
    ) as session:
        yield Client(options, session)


class Client:
    """Posts bodies and gives answers. `open_client` makes it."""

    def __init__(self, options: HttpOptions, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._session = session
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, hide: Collection[str] = ()) -> Answer:
        """
        Send a body and give the answer whatever its status; a redirect is an answer like any other.

        `hide` names the secrets among the headers: an answer that repeats them is cleaned.
        Raises Retryable where there is no answer.
        """
        tls = await self._context(url)
        headers, tunnel_headers = await self._for_proxy(url, headers)
        try:
            async with self._session.post(
                url,
                data=body,
                headers=headers,
                ssl=tls,
                proxy=self._options.proxy,
                proxy_headers=tunnel_headers,
                allow_redirects=False,
            ) as response:
                said = await _read(response)
                told = {name.lower(): value for name, value in response.headers.items()}
        except (aiohttp.ClientError, OSError) as error:
            failure = _translated(error, self._options)
            if failure.operator:
                self._tls = None  # the files are read again: somebody may have renewed them
            raise failure from error
        for secret in hide:
            if len(secret) >= SHORTEST_SECRET:
                said = said.replace(secret.encode(), b"***")
                told = {name: value.replace(secret, "***") for name, value in told.items()}
        return Answer(response.status, told, said)

    async def _context(self, url: str) -> ssl.SSLContext | bool:
        if not any((each or "").startswith("https:") for each in (url, self._options.proxy)):
            return True
        if self._tls is None:
            try:
                options = self._options
                files = ("tls", options.ca_file, options.client_cert, options.client_key)
                self._tls = await aside(partial(_tls_context, options), kind=files, within=options.timeout)
            except OSError as error:
                raise Retryable(f"the files for TLS cannot be used: {_cause(error)}", operator=True) from error
        return self._tls

    async def _for_proxy(
        self, url: str, headers: Mapping[str, str]
    ) -> tuple[Mapping[str, str], Mapping[str, str] | None]:
        """The headers of the request, and of the tunnel through a proxy; plain http is not tunnelled."""
        if not self._options.proxy_user:
            return headers, None
        secret = self._options.proxy_password or Secret()
        try:
            password = await aside(secret.reveal, kind=secret, within=self._options.timeout)
        except OSError as error:
            raise Retryable(f"the proxy's password cannot be read: {_cause(error)}", operator=True) from error
        login = b64encode(f"{self._options.proxy_user}:{password}".encode()).decode()
        basic = {"Proxy-Authorization": f"Basic {login}"}
        return (headers, basic) if url.startswith("https:") else ({**headers, **basic}, None)


def _tls_context(options: HttpOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file)
    if options.client_cert:
        context.load_cert_chain(options.client_cert, options.client_key)
    return context


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body, at most MAX_ANSWER of it."""
    body = b""
    while len(body) < MAX_ANSWER and (chunk := await response.content.read(MAX_ANSWER - len(body))):
        body += chunk
    if response.headers.get("Content-Encoding", "identity") == "identity":
        return body
    # Asked for identity, some gateways compress all the same.
    try:
        return zlib.decompressobj(wbits=47).decompress(body, MAX_ANSWER)
    except zlib.error:
        return body


def _translated(error: Exception, options: HttpOptions) -> Retryable:
    """What a failure without an answer means. Only what failed before anything was sent is unambiguous."""
    connecting = isinstance(error, aiohttp.ClientConnectorError)
    if reason := _tls_reason(error, connecting):
        return Retryable(f"TLS: {reason}", operator=True)
    match error:
        case aiohttp.ConnectionTimeoutError():
            return Retryable(f"no connection within {options.connect_timeout:g} s")
        case aiohttp.ClientProxyConnectionError():
            return Retryable(f"cannot connect to the proxy: {_cause(error)}")
        case aiohttp.ClientConnectorDNSError():
            return Retryable(f"cannot find {error.host}: {_cause(error)}")
        case aiohttp.ClientConnectorError():
            return Retryable(f"cannot connect to {error.host}:{error.port}: {_cause(error)}")
        case aiohttp.ClientHttpProxyError():
            refused = f"the proxy answered {_status(error.status)}"
            return Retryable(refused, status=error.status, operator=error.status < 500)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Retryable(f"not a URL that can be sent to: {quoted(str(error).encode())}", operator=True)
        case TimeoutError():
            return Retryable(f"no answer within {options.timeout:g} s", ambiguous=True)
        # What was understood of an answer may repeat a secret: these two quote nothing.
        case aiohttp.ServerDisconnectedError():
            return Retryable("the connection was closed before the answer", ambiguous=True)
        case aiohttp.ClientResponseError():
            return Retryable("the answer is not HTTP", ambiguous=True)
        case _:
            return Retryable(f"the connection broke before the answer ended: {_cause(error)}", ambiguous=True)


def _cause(error: Exception) -> str:
    """The plainest words there are for it."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if not isinstance(inner, OSError):
        text = str(inner)
    elif isinstance(inner, (ssl.SSLError, socket.gaierror)) or not inner.errno:
        text = inner.strerror or str(inner)
    else:
        text = os.strerror(inner.errno)  # asyncio puts a text of its own into strerror
    return quoted(text.encode(errors="replace")) or type(inner).__name__


def _tls_reason(error: BaseException, connecting: bool) -> str:
    """Why TLS failed, where a person has to mend it: a certificate refused by either side, or no TLS at all."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, aiohttp.ClientConnectorError):
            seen = seen.os_error
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the far side's certificate was refused here: {seen.verify_message}"
        # With TLS 1.3 the far side refuses our certificate after the handshake, by an alert.
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLEOFError):
            reason = (seen.reason or str(seen)).replace("_", " ").lower()
            return reason if connecting or "alert" in reason else ""
        seen = seen.__cause__ or seen.__context__
    return ""


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def quoted(said: bytes) -> str:
    """What the far side said, fit for a log line: one line, printable, at most MAX_QUOTE characters."""
    text = said[: 4 * MAX_QUOTE].decode(errors="replace")
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 3] + "..."


def refusal(status: int, said: bytes = b"", retry_after: float | None = None) -> DeliveryError | None:
    """What a status means for the data, where nothing more precise is known; None: it was taken."""
    if 200 <= status < 300:
        return None
    answer, reason = quoted(said), f"answered {_status(status)}"
    match status:
        case 429:
            pause = DEFAULT_PAUSE if retry_after is None else retry_after
            return Throttled(reason, retry_after=pause, status=status, answer=answer)
        case 408 | 425 | 502 | 503 | 504 if retry_after is not None:
            return Throttled(reason, retry_after=retry_after, status=status, answer=answer)
        case 408 | 425 | 502 | 503 | 504:
            return Retryable(reason, status=status, answer=answer)
        case 401 | 403:
            return AuthExpired(reason, status=status, answer=answer)
        case 413:
            return TooLarge(reason, status=status, answer=answer)
        case 400 | 415 | 422:
            return Rejected(reason, status=status, answer=answer)
        case _ if status >= 500:
            return Retryable(reason, status=status, answer=answer, ambiguous=True)
        case _:
            # 404, 410, a redirect, anything unheard of: a person has to look, and nothing is lost meanwhile.
            return Retryable(reason, status=status, answer=answer, operator=True)
