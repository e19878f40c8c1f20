"""The rhythm of reading: sockets are real, and the clock skips the time in which nothing would happen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import scripted_broker as wire
from delivery.virtual import run as run_virtually
from delivery.virtual import until
from mqtt_harness import Intake, collector
from scripted_broker import Broker

from agent.collectors.mqtt import Subscription
from agent.collectors.mqtt.pace import SAME_AGAIN, STRETCH, Pace

COALESCE = 1.0  # as long as it may be: what the machine itself takes is nothing beside it
HOUR = 3600.0


@dataclass
class Reader(asyncio.Protocol):
    """Every byte is a message. `reads` are the moments of reading, and how many were read."""

    pace: Pace
    reads: list[tuple[float, int]] = field(default_factory=list)
    size: int = 1  # bytes that a message is to be taken for
    answer: Callable[[int], object] = lambda count: None  # what the far end does about what was read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pace.begin(transport)

    def data_received(self, data: bytes) -> None:
        self.reads.append((asyncio.get_running_loop().time(), len(data)))
        self.pace.after_read(len(data), len(data) * self.size, at_once=False)
        self.answer(len(data))

    @property
    def rests(self) -> list[float]:
        """The time between each read and the next."""
        return [after - before for (before, _), (after, _) in zip(self.reads, self.reads[1:], strict=False)]

    @property
    def counts(self) -> list[int]:
        return [count for _, count in self.reads]


@contextlib.asynccontextmanager
async def reading(window: int) -> AsyncIterator[tuple[Reader, socket.socket]]:
    """A reader, and the far end of what it reads from."""
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    with far:
        transport, reader = await loop.create_connection(lambda: Reader(Pace(loop, COALESCE, window)), sock=near)
        try:
            yield reader, far
        finally:
            reader.pace.end()
            transport.close()
            await asyncio.sleep(0)


async def flow(far: socket.socket, *, messages: int, every: float, seconds: float) -> None:
    """So many messages at once, in even time."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for turn in range(round(seconds / every)):
        far.send(b"x" * messages)
        await asyncio.sleep(begin + (turn + 1) * every - loop.time())


def test_under_a_steady_load_the_pause_grows_to_ten_times_what_is_configured() -> None:
    async def main() -> None:
        async with reading(window=60_000) as (reader, far):
            await flow(far, messages=5, every=0.25, seconds=120)
            first, *_, last, _ = reader.rests
            assert first < 3 * COALESCE
            assert 9 * COALESCE < last < 12 * COALESCE

    run_virtually(main())


def test_after_a_quiet_moment_nothing_waits_and_the_pause_begins_anew() -> None:
    async def main() -> None:
        async with reading(window=60_000) as (reader, far):
            await flow(far, messages=5, every=0.25, seconds=60)
            assert reader.rests[-1] > 5 * COALESCE
            await asyncio.sleep(HOUR)
            before = len(reader.reads)
            far.send(b"x")
            await until(lambda: len(reader.reads) > before)
            assert reader.transport.is_reading()
            far.send(b"x")
            await until(lambda: len(reader.reads) > before + 1)
            assert not reader.transport.is_reading()
            stopped = asyncio.get_running_loop().time()
            await until(reader.transport.is_reading)
            assert asyncio.get_running_loop().time() - stopped < 2 * COALESCE

    run_virtually(main())


def test_thin_traffic_never_waits() -> None:
    async def main() -> None:
        async with reading(window=60_000) as (reader, far):
            for _ in range(20):
                far.send(b"x")
                await asyncio.sleep(3 * COALESCE)
                assert reader.transport.is_reading()
            assert reader.counts == [1] * 20

    run_virtually(main())


def test_a_pause_gathers_half_of_the_window() -> None:
    async def main() -> None:
        async with reading(window=200) as (reader, far):
            await flow(far, messages=5, every=0.25, seconds=120)
            # 20 a second: ten seconds would gather all 200.
            late = sorted(reader.counts[-10:])
            assert late[0] >= 80
            assert late[-1] <= 130

    run_virtually(main())


def test_an_even_source_is_looked_into_once_and_then_left_alone_for_long() -> None:
    async def main() -> None:
        async with reading(window=60_000) as (reader, far):
            await flow(far, messages=10, every=0.5, seconds=1000)
            grown = next(at for at, rest in enumerate(reader.rests) if rest > 0.9 * STRETCH * COALESCE)
            short = [at for at, rest in enumerate(reader.rests) if at > grown and rest < 0.7 * STRETCH * COALESCE]
            assert len(reader.rests) > grown + SAME_AGAIN + 20  # or this shows nothing
            assert 1 <= len(short) <= 2
            assert short[-1] - short[0] in (0, *range(SAME_AGAIN, 2 * SAME_AGAIN))
            # What was half as much in half the time is no window: the pause stays long.
            assert reader.rests[-2] > 0.9 * STRETCH * COALESCE

    run_virtually(main())


def test_a_window_that_is_smaller_than_granted_is_found_out_and_forgotten_in_time() -> None:
    async def main() -> None:
        async with reading(window=2000) as (reader, far):
            # 32 are in flight, whatever is read makes room for as many.
            reader.answer = lambda count: far.send(b"x" * count)
            far.send(b"x" * 32)
            await until(lambda: sum(reader.counts) > 5_000, within=5_000 / 32 * STRETCH * COALESCE / 10)
            assert max(reader.counts) == 32
            assert sorted(reader.rests)[len(reader.rests) // 2] < COALESCE / 20
            # From now on they come without a window: 2,000 were granted, and long pauses pay again.
            reader.answer = lambda count: None
            await flow(far, messages=5, every=0.05, seconds=150)
            assert max(reader.counts[-3:]) > 500

    run_virtually(main())


def test_bursts_of_one_size_that_are_read_as_they_come_are_no_window() -> None:
    async def main() -> None:
        async with reading(window=2000) as (reader, far):
            reader.pace.after_read(8_000_000, at_once=False)  # the pause becomes very short
            await flow(far, messages=20, every=0.2, seconds=60)
            assert reader.counts[:10] == [20] * 10
            assert max(reader.counts[-3:]) > 500

    run_virtually(main())


def test_what_is_read_in_several_goes_counts_together() -> None:
    async def pause(*before: int) -> float:
        """How long the pause is after one read more, of ten messages."""
        async with reading(window=400) as (reader, _):
            for messages in before:
                reader.pace.after_read(messages, at_once=True)
                assert reader.transport.is_reading()
            reader.pace.after_read(10, at_once=False)
            assert not reader.transport.is_reading()
            stopped = asyncio.get_running_loop().time()
            await until(reader.transport.is_reading, step=0.01)
            return asyncio.get_running_loop().time() - stopped

    async def main() -> None:
        assert await pause() > COALESCE
        assert COALESCE * 0.2 < await pause(390, 400) < COALESCE * 0.4  # 800 are four times half of the window

    run_virtually(main())


def test_an_end_while_paused_leaves_nothing_behind_and_a_hold_outlasts_the_pause() -> None:
    async def main() -> None:
        async with reading(window=400) as (reader, _):
            reader.pace.after_read(10, at_once=False)
            reader.pace.hold()
            await asyncio.sleep(5 * COALESCE)
            assert not reader.transport.is_reading()
            reader.pace.release()
            assert reader.transport.is_reading()
            reader.pace.after_read(10, at_once=False)
            reader.pace.end()
            await asyncio.sleep(5 * COALESCE)
            assert not reader.transport.is_reading()  # it is no more ours to resume

    run_virtually(main())


@pytest.mark.parametrize("window", [32, 20])
def test_a_broker_that_keeps_to_a_small_window_is_not_made_to_wait(window: int) -> None:
    messages = 2_500

    async def main() -> None:
        broker = Broker("5")
        intake = Intake()
        async with broker.running():
            taken = collector(broker.url, Subscription(topic="t/#", qos=1), intake=intake, coalesce=COALESCE)
            async with taken.running():
                await until(lambda: broker.links and broker.links[0].of(wire.SUBSCRIBE))
                link = broker.links[0]
                loop = asyncio.get_running_loop()
                begin, sent = loop.time(), 0
                while len(intake.payloads) < messages:
                    room = min(window - (sent - len(link.acked())), messages - sent)
                    if room:
                        link.send(*[link.publish(b"%d" % n, n % 65_535 + 1) for n in range(sent, sent + room)])
                        sent += room
                    await asyncio.sleep(0.005)
                    # Pauses of ten seconds, one a window, would make this a quarter of an hour or so.
                    assert loop.time() - begin < messages / window * STRETCH * COALESCE / 8
                assert intake.payloads == [b"%d" % n for n in range(messages)]

    run_virtually(main())


def test_no_pause_gathers_more_than_half_of_what_the_socket_holds() -> None:
    async def main() -> None:
        async with reading(window=1 << 30) as (reader, far):
            granted = reader.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / 2
            reader.size = 4096  # bytes of a message
            rate = granted / reader.size / (2 * COALESCE)  # messages a second: at ten times that five buffers full
            end = asyncio.get_running_loop().time() + 60 * COALESCE
            while asyncio.get_running_loop().time() < end:
                far.send(b"x" * max(1, int(rate * 0.05 * COALESCE)))
                await asyncio.sleep(0.05 * COALESCE)
            settled = reader.counts[len(reader.counts) // 2 :]
            assert settled
            assert 0.25 * granted <= max(settled) * reader.size <= 0.75 * granted

    run_virtually(main())


def test_no_pause_is_longer_than_the_keepalive_allows() -> None:
    async def main() -> None:
        async with reading(window=1 << 30) as (reader, far):
            reader.pace.longest = 3 * COALESCE
            for _ in range(1200):
                far.send(b"x")
                await asyncio.sleep(0.05 * COALESCE)
            assert 2.9 * COALESCE <= max(reader.rests) <= 3.5 * COALESCE

    run_virtually(main())
