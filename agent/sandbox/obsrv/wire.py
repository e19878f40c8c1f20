"""How its answers go out, what a fault says, and how large a message is for the broker."""

from __future__ import annotations

import zlib

from aiohttp import web

from agent.sandbox.faults import Fault
from agent.sandbox.obsrv import answers
from agent.sandbox.obsrv.answers import Answer


def response(answer: Answer) -> web.Response:
    """An answer as a whole."""
    headers = {"Content-Type": answer.content_type, "Keep-Alive": "timeout=5", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def failure(fault: Fault, msgid: str) -> Answer:
    """What is answered by a fault that answers."""
    if fault.gateway:
        return Answer(fault.status, fault.page, "text/html", fault.headers)
    return answers.failure(fault.status, fault.code, fault.message, msgid or None)


def snappy_size(body: bytes) -> int:
    """About what snappy makes of it: matches without entropy coding, which zlib does with fixed codes."""
    stream = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_FIXED)
    return len(stream.compress(body)) + len(stream.flush())
