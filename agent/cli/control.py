"""Orders to a running agent, over the control socket in its state directory."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from agent.service.exits import Exit
from agent.status.control import MAX_REQUEST, address

SILENCE_SECONDS = 30.0  # an agent at work says something every 5


class NoAgent(Exception):  # noqa: N818 - an answer, not an error of ours
    """Nobody takes orders here."""


class NotDone(Exception):  # noqa: N818 - the same
    """The order was not carried out, or not to its end. `code` is what to exit with."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


def ask(directory: Path, order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give an order; what the agent says meanwhile, and last `{"done": ...}`. Raises NoAgent and NotDone."""
    request = orjson.dumps(order, option=orjson.OPT_APPEND_NEWLINE)
    if len(request) >= MAX_REQUEST:
        raise NotDone("more is named than an agent takes at once: name less, or use --sink or --all", Exit.USAGE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, address(directory) as name:
        connection.settimeout(SILENCE_SECONDS)
        try:
            connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoAgent from error
        try:
            connection.sendall(request)
            with connection.makefile("rb") as said:
                yield from _answers(said)
        except TimeoutError:
            raise NotDone(f"the agent has said nothing for {SILENCE_SECONDS:.0f} s", Exit.TEMPORARY) from None
        except ConnectionError:
            raise _left_alone() from None


def _answers(said: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in said:
        answer = orjson.loads(line)
        if "error" in answer:
            raise NotDone(answer["error"], answer["exit"])
        yield answer
        if "done" in answer:
            return
    raise _left_alone()


def _left_alone() -> NotDone:
    return NotDone(
        "the agent ended before it was done; what it had not come to is as it was: try again", Exit.TEMPORARY
    )
