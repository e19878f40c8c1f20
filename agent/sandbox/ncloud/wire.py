"""How its answers go out: the headers, and the clock in them."""

from __future__ import annotations

import email.utils

from aiohttp import web

from agent.sandbox.ncloud.answers import Answer
from agent.sandbox.ncloud.ledger import Request
from agent.sandbox.ncloud.state import State
from agent.sandbox.serving import Bare


def headers(state: State, entry: Request, answer: Answer) -> dict[str, str]:
    """Those of an answer; the clock in them is the far side's."""
    said = {"Content-Type": answer.content_type, "x-ncp-trace-id": entry.trace, **answer.headers}
    if state.settings.sends_date:
        said["Date"] = email.utils.formatdate(state.now_ms() / 1000, usegmt=True)
    return said


def response(state: State, entry: Request, answer: Answer) -> web.Response:
    """An answer as a whole."""
    return Bare(status=answer.status, body=answer.body, headers=headers(state, entry, answer))
