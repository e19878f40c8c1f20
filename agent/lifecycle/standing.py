"""
What the agent has to say of itself, and when: everything a restart must know of it, as one structure.

Nothing is said at once. A start waits for a moment out of `jitter` and takes the stop before it along; an outage
does, and where it has ended by then the two are one event. So a thousand agents that restart together, or lose
the same far side, do not speak together, and what flickers speaks once. What was over within LASTING_MS was no outage
that anybody has to hear of. Pure: the caller has clock and dice.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from agent.delivery import Notice
from agent.events.wording import cut, lasting, moment

# A try that fails is no outage: the far side may have refused that one body or that one clock, or be restarting.
# Half a minute is room for five tries at least: delivery's pauses grow from 1 s to 16 s.
LASTING_MS = 30_000

Kind = Literal["start", "stop", "outage"]
Numbers = dict[str, int | str | bool]


class Stop(msgspec.Struct, kw_only=True):
    """How a life ended. Times are ms since 1970."""

    ts: int
    is_clean: bool
    version: str
    config: str


class Restart(msgspec.Struct, kw_only=True):
    """A start that is still to be told of, and those after it before it could be."""

    due: int
    first: int
    last: int
    count: int = 1
    unclean: int = 0  # how many lives since have ended without a stop
    stop: Stop | None = None  # the end of the life before the first


class Outage(msgspec.Struct, kw_only=True):
    """What is still to be told of a sink's outage: that it began, that it is over, or both."""

    due: int
    since: int
    until: int | None = None
    what: str = "down"
    reason: str = ""
    records: int = 0
    episodes: int = 1

    @property
    def ready(self) -> int:
        """When it may be told of: not before it has lasted for as long as one has to."""
        return self.due if self.until is not None else max(self.due, self.since + LASTING_MS)


class Gap(msgspec.Struct, kw_only=True):
    """Records that a sink will never get, still to be told of."""

    due: int
    since: int
    until: int
    reason: str
    records: int
    gaps: int = 1


class Saying(msgspec.Struct, kw_only=True):
    """An event whose time has come; it stays here until it is durable."""

    ts: int
    fields: Numbers
    sink: str = ""  # whose outage it is about


class Standing(msgspec.Struct, kw_only=True):
    """One life, and what it and those before it have still to say."""

    started: int = 0  # 0: there was no life before
    stopped: int | None = None
    version: str = ""
    config: str = ""
    restart: Restart | None = None
    outages: dict[str, Outage] = {}
    told: dict[str, int] = {}  # sinks whose outage was told of and has not ended, since when
    gaps: dict[str, Gap] = {}
    sayings: list[Saying] = []

    def begin(self, now: int, due: int, latest: int, *, alive: int | None, version: str, config: str) -> None:
        """A life begins; `alive`: when the former one was seen last, `latest`: until when everything is to be said."""
        stop = None
        if self.started:
            ended = self.stopped or alive or self.started
            stop = Stop(ts=min(ended, now), is_clean=self.stopped is not None, version=self.version, config=self.config)
        former = self.restart
        if former is None:
            self.restart = Restart(due=due, first=now, last=now, stop=stop)
        else:
            former.last, former.count = now, former.count + 1
            former.unclean += stop is not None and not stop.is_clean
            former.stop = former.stop or stop
        for waiting in self._waiting():
            if not now <= waiting.due <= latest:
                waiting.due = due
        self.carry_on(now, version=version, config=config)

    def carry_on(self, now: int, *, version: str, config: str) -> None:
        """The life goes on with another configuration: a reload is neither a stop nor a start."""
        self.started, self.stopped = now, None
        self.version, self.config = version, config

    def forget_others(self, sinks: Collection[str]) -> None:
        """Sinks that are no more have no outage to tell of."""
        self.outages = {sink: outage for sink, outage in self.outages.items() if sink in sinks}
        self.told = {sink: since for sink, since in self.told.items() if sink in sinks}

    def unresolved(self) -> set[str]:
        """The sinks that were down when somebody last heard of them."""
        return {sink for sink, outage in self.outages.items() if outage.until is None} | (
            self.told.keys() - self.outages.keys()
        )

    def notice(self, notice: Notice, due: int) -> None:
        """What delivery has to say of a sink."""
        sink, reason, waiting = notice.sink, cut(notice.reason), self.outages.get(notice.sink)
        if notice.what == "gap":
            self._gap(notice, due)
        elif notice.what == "up":
            until = notice.since_ms if notice.until_ms is None else notice.until_ms
            if waiting is not None and sink not in self.told and until - waiting.since < LASTING_MS:
                del self.outages[sink]
            elif waiting is not None:
                waiting.until, waiting.records = until, notice.records
            elif sink in self.told:
                self.outages[sink] = Outage(
                    due=due, since=self.told[sink], until=until, reason=reason, records=notice.records
                )
        elif waiting is not None:
            waiting.episodes += waiting.until is not None
            waiting.until, waiting.what, waiting.reason, waiting.records = None, notice.what, reason, notice.records
        elif sink not in self.told:
            self.outages[sink] = Outage(
                due=due, since=notice.since_ms, what=notice.what, reason=reason, records=notice.records
            )

    def _gap(self, notice: Notice, due: int) -> None:
        until = notice.since_ms if notice.until_ms is None else notice.until_ms
        gap = self.gaps.setdefault(
            notice.sink, Gap(due=due, since=notice.since_ms, until=until, reason="", records=0, gaps=0)
        )
        gap.since, gap.until = min(gap.since, notice.since_ms), max(gap.until, until)
        gap.reason = cut(notice.reason)
        gap.records, gap.gaps = gap.records + notice.records, gap.gaps + 1

    @property
    def due(self) -> int | None:
        """When there will be something to say; None: not as things are."""
        return min(
            (each.ready if isinstance(each, Outage) else each.due for each in self._waiting()),
            default=None,
        )

    def hasten(self, now: int, latest: int) -> None:
        """Nothing waits beyond `latest`: a clock that was set back must not keep it from being said."""
        for waiting in self._waiting():
            waiting.due = min(waiting.due, latest)
        for outage in self.outages.values():
            if outage.until is None:
                outage.since = min(outage.since, now)

    def _waiting(self) -> list[Restart | Outage | Gap]:
        return [*([self.restart] if self.restart else []), *self.outages.values(), *self.gaps.values()]

    def ripen(self, now: int, host: str, kinds: Collection[Kind]) -> bool:
        """Put what is due among the sayings; whether there was anything."""
        before = len(self.sayings)
        if self.restart is not None and self.restart.due <= now:
            self._say_restart(self.restart, host, kinds)
            self.restart = None
        for sink, outage in [each for each in self.outages.items() if each[1].ready <= now]:
            del self.outages[sink]
            if "outage" in kinds:
                self._say_outage(sink, outage, host)
        for sink, gap in [each for each in self.gaps.items() if each[1].due <= now]:
            del self.gaps[sink]
            if "outage" in kinds:
                self._say_gap(sink, gap, host)
        return len(self.sayings) > before

    def _say_restart(self, restart: Restart, host: str, kinds: Collection[Kind]) -> None:
        stop = restart.stop
        if "stop" in kinds and stop is not None:
            end = (
                f"agent on {host} stopped"
                if stop.is_clean
                else f"agent on {host} ended without a stop: kill or power cut; last known alive {moment(stop.ts)}"
            )
            self._say(
                stop.ts,
                f"{end} (version {stop.version}, configuration {stop.config})",
                "stopped",
                clean=stop.is_clean,
                version=stop.version,
                config=stop.config,
            )
        if "start" in kinds:
            words = f"agent on {host} started (version {self.version}, configuration {self.config})"
            if stop is not None and not stop.is_clean:
                words += "; it had ended without a stop: kill or power cut"
            if restart.count > 1:
                words += f"; {restart.count} starts since {moment(restart.first)}"
                words += f", {restart.unclean} of them after an end without a stop" if restart.unclean else ""
            self._say(
                restart.last,
                words,
                "started",
                clean=stop is None or stop.is_clean,
                version=self.version,
                config=self.config,
                starts=restart.count,
                since=restart.first,
            )

    def _say_outage(self, sink: str, outage: Outage, host: str) -> None:
        told = self.told.get(sink)
        numbers: Numbers = {"episodes": outage.episodes, "records": outage.records, "reason": outage.reason}
        why = f": {outage.reason}" if outage.reason else ""
        if outage.until is None:
            if told is None:
                self.told[sink] = outage.since
                doing = "refuses everything" if outage.what == "refusing" else "is down"
                words = (
                    f"sink {sink} of {host} {doing} since {moment(outage.since)}, {outage.records} records wait{why}"
                )
                self._say(outage.since, words, "outage", sink, since=outage.since, **numbers)
            return
        since = outage.since if told is None else told
        self.told.pop(sink, None)
        words = f"sink {sink} of {host} is up again after {lasting(outage.until - since)}"
        if told is None:
            words = f"sink {sink} of {host} was down for {lasting(outage.until - since)}"
        words += f" from {moment(since)} to {moment(outage.until)}"
        words += f", {outage.episodes} times" if outage.episodes > 1 else ""
        words += f", {outage.records} records waited{why}"
        self._say(outage.until, words, "recovered", sink, since=since, until=outage.until, **numbers)

    def _say_gap(self, sink: str, gap: Gap, host: str) -> None:
        words = f"sink {sink} of {host} will never get {gap.records} records"
        words += f" from {moment(gap.since)} to {moment(gap.until)}" + (f": {gap.reason}" if gap.reason else "")
        numbers: Numbers = {"gaps": gap.gaps, "records": gap.records, "reason": gap.reason}
        self._say(gap.until, words, "gap", sink, since=gap.since, until=gap.until, **numbers)

    def _say(self, ts: int, what: str, state: str, sink: str = "", **fields: int | str | bool) -> None:
        self.sayings.append(Saying(ts=ts, fields={"what": what, "state": state, **fields}, sink=sink))
