"""
Blocking calls that may never return, such as reading a token on a network mount that has gone.

asyncio's own threads are few and look names up for everybody, so a call that hangs must not keep one
of them. Here each call has a thread of its own, and there is at most one of a kind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_under_way: dict[Hashable, Future[Any]] = {}
_lock = threading.Lock()


async def aside(job: Callable[[], T], *, kind: Hashable, within: float) -> T:
    """
    What `job` gives; whoever asks for the same `kind` meanwhile gets the same answer.

    Raises TimeoutError, an OSError as most else that a file may raise, after that many seconds. Then
    the call goes on, and no other of its kind is begun before it returns.
    """
    with _lock:
        call = _under_way.get(kind)
        if call is None:
            call = Future()
            call.set_running_or_notify_cancel()  # so that who stops waiting does not cancel it for the others
            # A daemon: nothing can end it, and it must not keep the process from ending.
            threading.Thread(target=_run, args=(kind, call, job), name="aside", daemon=True).start()
            _under_way[kind] = call
    try:
        async with asyncio.timeout(within) as limit:
            answer: T = await asyncio.wrap_future(call)
            return answer
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"no answer within {within:g} s") from None
        raise


def _run(kind: Hashable, call: Future[T], job: Callable[[], T]) -> None:
    try:
        answer = job()
    except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
        _ended(kind)
        call.set_exception(error)
    else:
        _ended(kind)
        call.set_result(answer)


def _ended(kind: Hashable) -> None:
    with _lock:
        del _under_way[kind]
