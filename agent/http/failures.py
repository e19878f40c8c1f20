"""
What a request without an answer means for the data.

Whatever aiohttp, ssl or the system raise is translated here, once. The question behind each line is whether
the far side may have taken the batch (`ambiguous`), and whether only a person can mend it (`operator`).
"""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp

from agent.errors import Retryable
from agent.http.answer import quoted, status_line
from agent.http.options import HttpOptions


def translated(error: Exception, options: HttpOptions) -> Retryable:
    """What a failure without an answer means. Only what failed before anything was sent is unambiguous."""
    connecting = isinstance(error, aiohttp.ClientConnectorError)
    if reason := _tls_reason(error, connecting):
        return Retryable(f"TLS: {reason}", operator=True)
    match error:
        case aiohttp.ConnectionTimeoutError():
            return Retryable(f"no connection within {options.connect_timeout:g} s")
        case aiohttp.ClientProxyConnectionError():
            return Retryable(f"cannot connect to the proxy: {cause(error)}")
        case aiohttp.ClientConnectorDNSError():
            return Retryable(f"cannot find {error.host}: {cause(error)}")
        case aiohttp.ClientConnectorError():
            return Retryable(f"cannot connect to {error.host}:{error.port}: {cause(error)}")
        case aiohttp.ClientHttpProxyError():
            refused = f"the proxy answered {status_line(error.status)}"
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
            return Retryable(f"the connection broke before the answer ended: {cause(error)}", ambiguous=True)


def cause(error: Exception) -> str:
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
