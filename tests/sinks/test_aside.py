"""Files that hang (a token on a network mount that has gone) cost one thread and nobody's name look-ups."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from far_side import answer, far_side, record, run, run_of, until

from agent.aside import aside
from agent.errors import DeliveryError
from agent.ports import Parcel
from agent.schema import Secret
from agent.sinks.obsrv import Obsrv


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Path]:
    """A file whose opening does not return, until the test is over."""
    path = tmp_path / "gone"
    os.mkfifo(path)
    yield path
    while any(thread.name == "aside" for thread in threading.enumerate()):
        let_go(path)


def let_go(path: Path) -> None:
    """Let whoever waits for the file have it, empty."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass  # nobody waits


def waiting() -> int:
    return sum(thread.name == "aside" for thread in threading.enumerate())


def test_a_call_that_hangs_is_begun_once_and_heard_when_it_returns() -> None:
    async def main() -> None:
        let, begun = threading.Event(), []

        def job() -> int:
            begun.append(1)
            assert let.wait(20)
            return len(begun)

        for _ in range(3):
            with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
                await aside(job, kind="x", within=0.01)
        assert await aside(lambda: "another", kind="y", within=10) == "another"
        asked = asyncio.create_task(aside(job, kind="x", within=10))
        await asyncio.sleep(0)
        let.set()
        assert await asked == 1
        await until(lambda: not waiting())
        assert await aside(job, kind="x", within=10) == 2

    run(main())


def test_what_a_call_raises_is_raised_to_all_who_wait() -> None:
    async def main() -> None:
        let = threading.Event()

        def job() -> None:
            let.wait(20)
            raise PermissionError(13, "no")

        asked = [asyncio.create_task(aside(job, kind="x", within=10)) for _ in range(3)]
        await asyncio.sleep(0)
        let.set()
        for each in asked:
            with pytest.raises(PermissionError):
                await each

    run(main())


Options = Callable[[Path], dict[str, object]]


@pytest.mark.parametrize(
    "options",
    [
        lambda gone: {"token": Secret(path=str(gone))},
        lambda gone: {"proxy": "http://127.0.0.1:9", "proxy_user": "u", "proxy_password": Secret(path=str(gone))},
        lambda gone: {"url": "https://127.0.0.1:9", "ca_file": gone},
    ],
    ids=["token", "proxy password", "ca file"],
)
def test_a_sink_whose_file_hangs_takes_no_thread_from_the_others(gone: Path, options: Options) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        async with far_side(answer()) as side:
            sink = Obsrv(**{"url": side.url, "dataset": "d", "timeout": 0.02, **options(gone)})  # type: ignore[arg-type]
            data = sink.encode(run_of([record()]))
            async with sink.open() as send:
                for _ in range(6):
                    with pytest.raises(DeliveryError, match="cannot be"):
                        async with asyncio.timeout(1):  # as delivery gives up on a send
                            await send(Parcel("x", sink.pack("x", 1, data), 1))
                assert waiting() == 1
                async with asyncio.timeout(5):
                    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            let_go(gone)

    run(main())
