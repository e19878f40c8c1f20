"""Dead letters on their way back: each outcome of a far side, and what it means for the others."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.delivery import replay as module
from agent.delivery.form import BrokenSinkError
from agent.delivery.letters import dead_letter
from agent.delivery.replay import Outcome, Resend, Wanted, drop, replay, resend, run_of
from agent.errors import AuthExpired, Rejected, Retryable, Throttled, TooLarge, Unfit
from agent.ports import Limits, Parcel
from agent.record import Run, record_id
from agent.spool.letters import Letters
from agent.spool.lines import identity
from agent.spool.shelf import Shelf

SEGMENT = 0xABCD


def record(number: int) -> bytes:
    return b'{"ts":%d,"source":"t","tags":{},"fields":{"n":%d,"text":"\xc3\xa9\\u20ac"}}' % (1000 + number, number)


def letter(number: int, sink: str = "lake") -> bytes:
    return dead_letter(sink, SEGMENT, number, record(number), "no", 400)


class Far:
    """Takes what it is not told to answer otherwise."""

    def __init__(self, answers: Mapping[int, Exception] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[int] = []
        self.taken: list[int] = []

    async def resend(self, run: Run) -> None:
        self.asked.append(run.first)
        assert run.body == record(run.first)
        assert (run.segment_id, run.count, run.records()) == (SEGMENT, 1, [run.body])
        if run.first in self.answers:
            raise self.answers[run.first]
        self.taken.append(run.first)


@asynccontextmanager
async def shelved(directory: Path, *some: bytes) -> AsyncIterator[Shelf]:
    letters = Letters(directory, max_bytes=1 << 30, max_age=86400.0, sync=False, now=time.time)
    letters.load()
    letters.append(0, some)
    try:
        yield Shelf(letters, asyncio.to_thread)
    finally:
        letters.close()


def go(
    directory: Path, some: list[bytes], ways: Mapping[str, Resend], wanted: Wanted | None = None
) -> tuple[Outcome, list[dict[str, Any]], list[str]]:
    """The outcome, what was told, and the letters that are left."""
    out, told = Outcome(), list[dict[str, Any]]()

    async def tell(said: Mapping[str, Any]) -> None:
        told.append(dict(said))

    async def main() -> list[str]:
        async with shelved(directory, *some) as shelf:
            await replay(shelf, wanted or Wanted(), ways, tell, out)
            return [identity(one.letter) async for chunk in shelf.chunks() for one in chunk]

    return out, told, asyncio.run(main())


def name(number: int) -> str:
    return record_id(SEGMENT, number)


def test_a_record_goes_back_as_it_was_read_and_only_to_its_sink(tmp_path: Path) -> None:
    lake, pond = Far(), Far()
    some = [letter(n, "lake" if n % 2 else "pond") for n in range(10)]
    out, _, left = go(tmp_path, some, {"lake": lake.resend, "pond": pond.resend}, Wanted(sink="lake"))
    assert (lake.taken, pond.asked) == ([1, 3, 5, 7, 9], [])
    assert out.replayed == {"lake": 5}
    assert left == [name(n) for n in (0, 2, 4, 6, 8)]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Rejected("no such field", status=400, answer="colour"), "no such field (status 400): colour"),
        (TooLarge("larger than a message"), "larger than a message"),
        (Unfit({0: "older than 3 days"}), "older than 3 days"),
        (BrokenSinkError(KeyError("colour")), "bug in the sink: KeyError, see the log"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused_again_stays_and_the_others_have_their_turn(
    tmp_path: Path, refusal: Exception, reason: str
) -> None:
    far = Far({1: refusal})
    out, told, left = go(tmp_path, [letter(n) for n in range(3)], {"lake": far.resend})
    assert (out.replayed, out.refused, out.stopped) == ({"lake": 2}, {"lake": 1}, {})
    assert left == [name(1)]
    assert [each for each in told if "stays" in each] == [
        {"stays": name(1), "sink": "lake", "how": "refused", "reason": reason}
    ]


@pytest.mark.parametrize(
    ("trouble", "is_locked_out"),
    [
        (Retryable("connection refused"), False),
        (Retryable("500", ambiguous=True), False),
        (Throttled("busy", retry_after=30.0), False),
        (AuthExpired("the token is unknown"), True),
    ],
    ids=["down", "ambiguous", "throttled", "locked out"],
)
def test_a_far_side_that_cannot_be_asked_keeps_its_letters_and_nobody_elses(
    tmp_path: Path, trouble: Exception, is_locked_out: bool
) -> None:
    lake, pond = Far({2: trouble}), Far()
    some = [letter(n, "pond" if n % 2 else "lake") for n in range(10)]
    out, _, left = go(tmp_path, some, {"lake": lake.resend, "pond": pond.resend})
    assert lake.asked == [0, 2]
    assert (out.replayed, out.left) == ({"lake": 1, "pond": 5}, {"lake": 4})
    assert list(out.stopped) == ["lake"]
    assert str(trouble) in out.stopped["lake"]
    assert out.locked_out is is_locked_out
    assert left == [name(n) for n in (2, 4, 6, 8)]


def test_what_is_no_record_or_nobodys_stays_with_the_reason(tmp_path: Path) -> None:
    bad = json.dumps({"id": None, "sink": "intake", "reason": "no JSON", "payload": "x", "encoding": "utf8"}).encode()
    damaged = dead_letter("lake", SEGMENT, 7, b"\xff", "no")
    odd = letter(8).replace(name(8).encode(), b"what-is-this")
    far = Far()
    out, told, left = go(tmp_path, [bad, damaged, odd, letter(9, "pond"), letter(1)], {"lake": far.resend})
    assert far.taken == [1]
    assert out.impossible == {"intake": 1, "lake": 2, "pond": 1}
    reasons = {each["stays"]: each["reason"] for each in told if "stays" in each}
    assert reasons == {
        "at-0": "it never became a record (no JSON); see telemetry-agent dead-letters show at-0",
        name(7): f"its record is damaged; see telemetry-agent dead-letters show {name(7)}",
        "what-is-this": "what-is-this names no record; see telemetry-agent dead-letters show what-is-this",
        name(9): "there is no sink pond (a new one takes it up by `was`)",
    }
    assert left == ["at-0", name(7), "what-is-this", name(9)]


def test_of_many_that_stay_some_are_named_and_all_are_counted(tmp_path: Path) -> None:
    far = Far({n: Rejected("no") for n in range(500)})
    out, told, left = go(tmp_path, [letter(n) for n in range(500)], {"lake": far.resend})
    assert out.refused == {"lake": 500}
    assert len([each for each in told if "stays" in each]) == module.SAID_ONE_BY_ONE
    assert len(left) == 500


def test_what_comes_while_it_goes_is_for_the_next_time(tmp_path: Path) -> None:
    far, out = Far(), Outcome()

    async def tell(said: Mapping[str, Any]) -> None:
        pass

    async def main() -> None:
        letters = Letters(tmp_path, max_bytes=1 << 30, max_age=86400.0, sync=False, now=time.time)
        letters.load()
        letters.append(0, [letter(0)])

        async def refused_meanwhile(run: Run) -> None:
            await far.resend(run)
            letters.append(run.first + 1, [letter(run.first + 1)])

        await replay(Shelf(letters, asyncio.to_thread), Wanted(), {"lake": refused_meanwhile}, tell, out)
        assert far.taken == [0]
        await replay(Shelf(letters, asyncio.to_thread), Wanted(), {"lake": far.resend}, tell, out)
        assert far.taken == [0, 1]
        letters.close()

    asyncio.run(main())


def test_cancelled_it_keeps_what_was_not_taken(tmp_path: Path) -> None:
    out = Outcome()

    async def tell(said: Mapping[str, Any]) -> None:
        pass

    async def main() -> None:
        far = Far()
        third = asyncio.Event()

        async def hanging(run: Run) -> None:
            if run.first == 2:
                third.set()
                await asyncio.Event().wait()
            await far.resend(run)

        async with shelved(tmp_path, *(letter(n) for n in range(5))) as shelf:
            work = asyncio.create_task(replay(shelf, Wanted(), {"lake": hanging}, tell, out))
            await third.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            assert work.cancelled()
            left = [one.seq async for chunk in shelf.chunks() for one in chunk]
        assert (out.replayed, left) == ({"lake": 2}, [2, 3, 4])

    asyncio.run(main())


def test_dropped_are_those_that_are_meant(tmp_path: Path) -> None:
    out, told = Outcome(), list[Mapping[str, Any]]()

    async def tell(said: Mapping[str, Any]) -> None:
        told.append(said)

    async def main() -> list[str]:
        some = [letter(n, "lake" if n % 2 else "pond") for n in range(3000)]
        async with shelved(tmp_path, *some) as shelf:
            ids = frozenset({name(1), name(2), name(2999)})
            await drop(shelf, Wanted(sink="lake", ids=ids), tell, out)
            return [identity(one.letter) async for chunk in shelf.chunks() for one in chunk]

    left = asyncio.run(main())
    assert out.dropped == {"lake": 2}
    assert set(map(name, range(3000))) - set(left) == {name(1), name(2999)}
    assert any("progress" in each for each in told)


class Plain:
    """A sink without a far side: it says what it is told to."""

    kind = "plain"
    limits = Limits()

    def __init__(self, bug: Exception | None = None) -> None:
        self._bug = bug

    def encode(self, run: Run) -> bytes:
        if self._bug is not None:
            raise self._bug
        return run.body

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    def open(self) -> Any:
        raise AssertionError("somebody else opens it")


def test_without_a_delivery_a_record_goes_under_the_name_it_always_has() -> None:
    sent: list[Parcel] = []

    async def send(parcel: Parcel) -> None:
        sent.append(parcel)

    run = run_of({**json.loads(letter(5)), "seq": 0, "at": 0})
    for _ in range(2):
        asyncio.run(resend(Plain(), send, run))
    assert sent[0] == sent[1]
    assert sent[0].id.startswith(f"{SEGMENT:016x}-5-5-")
    assert (sent[0].body, sent[0].count) == (record(5), 1)


def test_without_a_delivery_each_failure_is_named_as_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of({**json.loads(letter(5)), "seq": 0, "at": 0})

    async def broken(parcel: Parcel) -> None:
        raise KeyError("colour")

    async def hangs(parcel: Parcel) -> None:
        await asyncio.Event().wait()

    async def refuses(parcel: Parcel) -> None:
        raise Rejected("no")

    for sink, send, error in (
        (Plain(Unfit({0: "never"})), refuses, Unfit),
        (Plain(KeyError("colour")), refuses, BrokenSinkError),
        (Plain(), broken, BrokenSinkError),
        (Plain(), refuses, Rejected),
    ):
        with pytest.raises(error):
            asyncio.run(resend(sink, send, run))
    monkeypatch.setattr(module, "LONGEST_SEND", 0.05)
    with pytest.raises(Retryable, match="no outcome"):
        asyncio.run(resend(Plain(), hangs, run))


def test_letters_are_read_a_little_at_a_time(tmp_path: Path) -> None:
    """What an agent holds of 64 MiB of letters is a part of one file."""
    pad = b" " * 4000

    async def main() -> list[int]:
        async with shelved(tmp_path, *(letter(n) + pad for n in range(2000))) as shelf:
            return [len(chunk) async for chunk in shelf.chunks()]

    sizes = asyncio.run(main())
    assert sum(sizes) == 2000
    assert max(sizes) < 100
    assert os.path.getsize(next(tmp_path.glob("*.ndjson"))) > 1 << 20
