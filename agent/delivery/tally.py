"""What a sink's delivery counts and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge, Unfit
from agent.spool import Cursor, State
from agent.stats import Stats


class Tally:
    """The counters and gauges of one sink."""

    def __init__(self, name: str, stats: Stats) -> None:
        self._name = name
        self._stats = stats
        self._bytes = stats.counter("agent_sink_bytes_total", "Bytes of bodies that sinks accepted.", sink=name)
        self._retries = stats.counter("agent_sink_retries_total", "Requests for a batch that had one.", sink=name)
        self._evicted: dict[Cursor, int] = {}

    def settled(self, state: State, count: int) -> None:
        """Records have met their fate."""
        if count:
            self._stats.counter(
                "agent_sink_records_total",
                "Records by what became of them.",
                sink=self._name,
                outcome=state.name.lower(),
            ).add(count)

    def requested(self, error: BaseException | None, size: int, *, again: bool) -> None:
        """A request has ended."""
        self._stats.counter(
            "agent_sink_requests_total", "Requests by how they ended.", sink=self._name, result=result_of(error)
        ).add()
        if error is None:
            self._bytes.add(size)
        if again:
            self._retries.add()

    def follow_evictions(self, cursors: Iterable[Cursor]) -> None:
        """The spool books what it evicts itself; take over what is new."""
        for cursor in cursors:
            evicted = cursor.ledger.evicted
            self.settled(State.EVICTED, evicted - self._evicted.get(cursor, evicted))
            self._evicted[cursor] = evicted

    def show(self, cursors: list[Cursor], lag: Callable[[], float]) -> None:
        """Keep the gauges on these cursors, of which some may go, and on how far behind the sink is."""
        name, gauge = self._name, self._stats.gauge
        gauge("agent_sink_queued_records", "Records a sink has not settled.", lambda: queued(cursors), sink=name)
        gauge(
            "agent_sink_queued_bytes",
            "Bytes on disk a sink has not settled.",
            lambda: sum(cursor.lane.bytes_between(cursor.position, end_of(cursor)) for cursor in cursors),
            sink=name,
        )
        gauge("agent_sink_lag_seconds", "Age of the oldest batch not settled, or being gathered.", lag, sink=name)


def queued(cursors: Iterable[Cursor]) -> int:
    """How many records these cursors have before them."""
    return sum(end_of(cursor) - cursor.position for cursor in cursors)


def end_of(cursor: Cursor) -> int:
    """The index after the last record that there is for this cursor."""
    return cursor.lane.head if cursor.end is None else cursor.end


def result_of(error: BaseException | None) -> str:
    """How a request ended, in a word."""
    match error:
        case None:
            return "accepted"
        case Throttled():
            return "throttled"
        case Retryable(operator=True) | AuthExpired():
            return "operator"
        case Retryable(ambiguous=True):
            return "ambiguous"
        case Retryable():
            return "unreachable"
        case TooLarge():
            return "too_large"
        case Rejected():
            return "rejected"
        case Unfit():
            return "unfit"
        case DeliveryError():
            return "failed"
        case _:
            return "bug"
