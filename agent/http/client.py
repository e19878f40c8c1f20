"""
One HTTP client for every sink: aiohttp with our bounds, and its failures translated.

Only `open_client` imports this module, in a thread: aiohttp is a third of what a start has to load.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO

import aiohttp
from yarl import URL

from agent import __version__
from agent.aside import aside
from agent.errors import Retryable
from agent.http.answer import MAX_ANSWER, Answer
from agent.http.failures import cause, translated
from agent.http.options import ENVIRONMENT, HttpOptions
from agent.http.proxy import Proxy, basic, environment_proxy
from agent.schema import Secret, hidden

# Larger bodies are written in pieces, between which the event loop goes on; aiohttp warns of those that are not.
PIECEMEAL = 1 << 20


@asynccontextmanager
async def opened(options: HttpOptions, keepalive: float) -> AsyncIterator[Client]:
    """A client, as `open_client` has it."""
    # How many requests go at a time is delivery's business; a second bound here could only make them wait.
    source = (options.source_address, 0) if options.source_address else None
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive, local_addr=source)
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
    """Sends requests and gives answers. `open_client` makes it."""

    def __init__(self, options: HttpOptions, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._session = session
        self._connector = session.connector if isinstance(session.connector, aiohttp.TCPConnector) else None
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, hide: Collection[str] = ()) -> Answer:
        """Send a body: `request` with POST."""
        return await self.request("POST", url, body, headers, hide=hide)

    async def get(self, url: str, headers: Mapping[str, str], *, hide: Collection[str] = ()) -> Answer:
        """Ask: `request` with GET."""
        return await self.request("GET", url, None, headers, hide=hide)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        hide: Collection[str] = (),
        most: int = MAX_ANSWER,
    ) -> Answer:
        """
        Send a request and give the answer whatever its status; a redirect is an answer like any other.

        The target is sent as `url` has it, to the byte, so that it can be signed. `hide` names the
        secrets among the headers: an answer that repeats them is cleaned. `most`: bytes of the answer
        that are read. Raises Retryable where there is no answer.
        """
        proxy = await self._proxy_for(url)
        tls = await self._context(url, proxy)
        login = {"Proxy-Authorization": f"Basic {proxy.login}"} if proxy is not None and proxy.login else {}
        tunnelled = url.startswith("https:")  # then the proxy's login is for the proxy alone
        try:
            async with self._session.request(
                method,
                URL(url, encoded=url.isascii()),
                data=BytesIO(body) if body is not None and len(body) > PIECEMEAL else body,
                headers=headers if tunnelled else {**headers, **login},
                # A POST of nothing has no type; aiohttp would call it bytes, which a gateway may refuse.
                skip_auto_headers=("Content-Type",) if body is None else (),
                ssl=tls,
                proxy=None if proxy is None else proxy.url,
                proxy_headers=login if tunnelled and login else None,
                allow_redirects=False,
            ) as response:
                said = await _read(response, most)
                told = {name.lower(): value for name, value in response.headers.items()}
        except (aiohttp.ClientError, OSError) as error:
            failure = translated(error, self._options)
            if isinstance(error, aiohttp.ClientConnectionError) and self._connector is not None:
                self._connector.clear_dns_cache()  # the name may have moved: it is looked up anew
            if failure.operator:
                self._tls = None  # the files are read again: somebody may have renewed them
            raise failure from error
        # A proxy that is asked for plain http sees its login among the other headers, and answers itself.
        known = [*hide, *(proxy.secrets if proxy is not None else ())]
        if known:
            said = hidden(said.decode(errors="surrogateescape"), known).encode(errors="surrogateescape")
            told = {name: hidden(value, known) for name, value in told.items()}
        return Answer(response.status, told, said)

    async def _context(self, url: str, proxy: Proxy | None) -> ssl.SSLContext | bool:
        if not any(each.startswith("https:") for each in (url, proxy.url if proxy else "")):
            return True
        if self._tls is None:
            try:
                options = self._options
                files = ("tls", options.ca_file, options.client_cert, options.client_key)
                self._tls = await aside(partial(_tls_context, options), kind=files, within=options.timeout)
            except OSError as error:
                raise Retryable(f"the files for TLS cannot be used: {cause(error)}", operator=True) from error
        return self._tls

    async def _proxy_for(self, url: str) -> Proxy | None:
        options = self._options
        if not options.proxy:
            return None
        if options.proxy == ENVIRONMENT:
            return environment_proxy(url)
        if not options.proxy_user:
            return Proxy(options.proxy)
        secret = options.proxy_password or Secret()
        try:
            password = await aside(secret.reveal, kind=secret, within=options.timeout)
        except OSError as error:
            raise Retryable(f"the proxy's password cannot be read: {cause(error)}", operator=True) from error
        return Proxy(options.proxy, basic(options.proxy_user, password))


def _tls_context(options: HttpOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file)
    if options.client_cert:
        context.load_cert_chain(options.client_cert, options.client_key)
    return context


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The answer's body, at most so much of it."""
    body = bytearray()
    while len(body) < most and (chunk := await response.content.read(most - len(body))):
        body += chunk
    if response.headers.get("Content-Encoding", "identity") == "identity":
        return bytes(body)
    # Asked for identity, some gateways compress all the same.
    try:
        return zlib.decompressobj(wbits=47).decompress(body, most)
    except zlib.error:
        return bytes(body)
