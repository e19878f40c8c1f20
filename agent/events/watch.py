"""
Watches the records that pass by, for rules: which of them are looked at, and which events they cause.

    of(source, tags) ─▸ the rules of a stream, once     take(...) ─▸ events     committed(event): it is durable

What is remembered for the next run follows `committed`, not `take`: an event that never became durable is
caused again, one that did is not. What became durable after the file was written last comes as `lately`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import structlog

from agent.events import wording
from agent.events.earlier import brought_up_to_date, is_orphan, matters, states_of
from agent.events.kept import Kept, KeptRule, KeptRules, Lately, key
from agent.events.memory import Memory
from agent.events.ready import Ready, Told
from agent.events.rule import SOURCE, Rule
from agent.record import source_and_tags
from agent.stats import Stats

log = structlog.get_logger()

MOST = 10_000  # instances over all rules: some 3 MB
GONE_MS = 86_400_000  # what was not seen for so long makes room for others
FORGOTTEN_MS = 30 * 86_400_000  # what was not seen for so long is not remembered for another run
SAY_AGAIN = 3600.0
SWEEP_AGAIN = 1.0  # seconds: looking at every instance takes milliseconds, and new tags may come by the thousand

Rules = tuple[Ready, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A record to be: what a change of state has to say."""

    source: str
    tags: Mapping[str, str]
    fields: Mapping[str, object]
    ts_ms: int
    instance: Told
    kept: Kept  # to be remembered once it is durable


class Watch:
    """All rules. One per agent; a reload changes them."""

    def __init__(
        self,
        rules: Sequence[Rule],
        memory: Memory | None = None,
        *,
        stats: Stats,
        fixed: Mapping[str, str] | None = None,
        lately: Sequence[Lately] = (),
        most: int = MOST,
    ) -> None:
        """
        Rules go on where the last run left them, as far as `memory` knows.

        `fixed`: the agent's own tags; `lately`: the events that may be younger than what `memory` knows.
        """
        self._stats = stats
        self._rules = [Ready.of(rule, stats) for rule in rules]
        self._most = most
        self._count = 0
        self._said_full, self._swept = -SAY_AGAIN, -SWEEP_AGAIN
        self._left_out = stats.counter(
            "agent_events_unwatched_total", "Samples that a rule did not look at: too many sets of tags."
        )
        self._memory = memory
        self._fixed = dict(fixed or {})
        if memory is not None:
            former = memory.section("rules", KeptRules, self.remembered) or {}
            self._restore(self._rules, former, lately)
            if self.remembered() != former:
                memory.changed()
        self._show(self._rules)

    def change(self, rules: Sequence[Rule]) -> None:
        """
        From now on these watch. A rule that is as it was goes on; one that changes begins with what the former left.

        No event may be on its way to the disk.
        """
        former = self.remembered()
        present = {each.rule.name: each for each in self._rules}
        as_they_were = [each for rule in rules if (each := present.get(rule.name)) is not None and each.rule == rule]
        begun = [Ready.of(rule, self._stats) for rule in rules if rule not in [each.rule for each in as_they_were]]
        known = {each.rule.name: each for each in (*as_they_were, *begun)}
        self._rules = [known[rule.name] for rule in rules]
        self._count = sum(len(each.instances) + len(each.earlier) for each in self._rules)
        self._restore(begun, former)
        if self._memory is not None:
            self._memory.changed()
        for name in present.keys() - known.keys():
            self._stats.forget(rule=name)
        self._show(begun)

    def _show(self, rules: Iterable[Ready]) -> None:
        for each in rules:
            self._stats.gauge(
                "agent_events_firing", "Sets of tags for which a rule fires.", each.firing, rule=each.rule.name
            )

    def of(self, source: str, tags: Mapping[str, str]) -> Rules:
        """The rules that watch records of that source with those tags: events themselves are watched by none."""
        if source.startswith(SOURCE):
            return ()
        return tuple(each for each in self._rules if each.selection.matches(source, tags))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of the events there may be."""
        return tuple(SOURCE + each.rule.name for each in self._rules)

    def take(self, rules: Rules, middle: bytes, payload: bytes, ts_ms: int, arrival_ms: int) -> list[Event]:
        """
        Take a sample, for the rules that watch it; gives the events that it causes.

        `middle` is what stands in the record between its time and its fields, `payload` its fields.
        """
        fields = _fields(payload)
        events = []
        for each in rules:
            value = each.condition.value_in(fields)
            asks = each.condition.holds(value)
            if asks is None:
                continue
            instance = each.instances.get(middle) or self._meet(each, middle, arrival_ms)
            if instance is None:
                self._left_out.add()
                continue
            if instance.is_firing:
                asks = bool(each.clearing.holds(value))
            has_changed = instance.take(asks=asks, at=ts_ms, arrival=arrival_ms, lasting=each.lasting, hold=each.hold)
            if instance.is_firing != instance.was_firing and each.budget.take(arrival_ms):
                events.append(_event(each, instance, middle, fields, value, ts_ms))
            elif has_changed:
                _mute(each, is_back=instance.is_firing == instance.was_firing)
        return events

    def committed(self, event: Event) -> None:
        """The event is durable: from now on it is remembered, and not caused again."""
        event.instance.kept = event.kept
        if self._memory is not None:
            self._memory.changed()

    # From one run to the next.

    def remembered(self) -> KeptRules:
        """What the next run has to know, by the names of the rules."""
        return {
            each.rule.name: KeptRule(
                watches=each.watches,
                suppressed=each.suppressed,
                spent=list(each.budget.spent),
                states=states_of(each),
                tags=dict(each.rule.tags),
                fixed=self._fixed,
            )
            for each in self._rules
        }

    def _restore(self, rules: Iterable[Ready], kept: KeptRules, lately: Sequence[Lately] = ()) -> None:
        """Go on where the last run ended. A rule that watches something else by now starts anew."""
        now_ms = time.time_ns() // 1_000_000
        found = orphans = 0
        for each in rules:
            former = kept.get(each.rule.name)
            if former is None:
                continue
            if former.watches != each.watches:
                log.info("event rule starts anew, as it watches something else", rule=each.rule.name)
                continue
            former, count = brought_up_to_date(former, (event for event in lately if event.rule == each.rule.name))
            found += count
            each.suppressed = former.suppressed
            each.budget.spent.extend(former.spent)
            was = self._fixed if former.fixed is None else former.fixed
            states = [state for state in former.states if not is_orphan(state, was, self._fixed)]
            orphans += sum(state.is_firing for state in former.states) - sum(state.is_firing for state in states)
            known = [state for state in states if now_ms - state.seen < FORGOTTEN_MS and matters(each, state, now_ms)]
            for state in known[: self._most - self._count]:
                each.earlier[state.key] = state
                self._count += 1
        if found:
            log.info("events told since the last write of what is remembered are taken up", count=found)
        if orphans:
            log.info("the agent has other tags, what fired under the former ones starts anew", count=orphans)

    # Room.

    def _meet(self, each: Ready, middle: bytes, arrival_ms: int) -> Told | None:
        """The instance of tags that are met for the first time in this run; None where there is no room."""
        source, tags = source_and_tags(middle)
        former = each.earlier.pop(key(source, tags), None)
        if former is None and self._count >= self._most and not self._make_room(arrival_ms):
            return None
        self._count += former is None
        instance = each.instances[middle] = Told()
        if former is not None:
            instance.was_firing, instance.is_firing = former.is_firing, former.is_firing is not former.is_untold
            instance.began, instance.changed = former.began, former.changed
            instance.kept = msgspec.structs.replace(former, is_untold=False)
            instance.arrived = former.seen  # a clock that was set back meanwhile sets these back, too
        return instance

    def _make_room(self, now: int) -> bool:
        """Forget what is at rest, or else what was not seen for a day; whether that was anything."""
        if time.monotonic() - self._swept < SWEEP_AGAIN:
            return False
        self._swept = time.monotonic()
        freed = self._forget(
            lambda each, instance: instance.is_resting(now, each.hold) and not instance.was_firing,
            lambda each, kept: not matters(each, kept, now),
        ) or self._forget(
            lambda _, instance: now - instance.arrived > GONE_MS,
            lambda _, kept: now - kept.seen > GONE_MS,
        )
        if not freed and time.monotonic() - self._said_full >= SAY_AGAIN:
            self._said_full = time.monotonic()
            log.warning("too many sets of tags for event rules, new ones are not watched", most=self._most)
        return freed

    def _forget(self, is_free: Callable[[Ready, Told], bool], was_free: Callable[[Ready, Kept], bool]) -> bool:
        before = self._count
        for each in self._rules:
            present, former = len(each.instances), len(each.earlier)
            each.instances = {name: one for name, one in each.instances.items() if not is_free(each, one)}
            each.earlier = {name: one for name, one in each.earlier.items() if not was_free(each, one)}
            self._count -= present - len(each.instances) + former - len(each.earlier)
        return self._count < before


def _fields(payload: bytes) -> dict[str, Any]:
    """The fields of a record, whose JSON was checked."""
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError:
        # Half of a surrogate pair in an escape: JSON's grammar allows it, orjson does not.
        fields = json.loads(payload)
    return fields if isinstance(fields, dict) else {}


def _event(each: Ready, instance: Told, middle: bytes, fields: Mapping[str, Any], value: object, ts_ms: int) -> Event:
    rule, is_firing = each.rule, instance.is_firing
    source, tags = source_and_tags(middle)
    began = ts_ms if instance.began is None else instance.began
    newest = ts_ms if instance.newest is None else instance.newest
    changed = newest if instance.changed is None else instance.changed
    template = each.what if is_firing else each.what_clear
    known = {
        "value": wording.readable(value),
        "threshold": each.threshold,
        "field": each.condition.field,
        "source": source,
        "rule": rule.name,
        "state": "firing" if is_firing else "clear",
        "host": wording.cut(tags.get("host", "")),
        "since": wording.moment(began),
        "for": wording.lasting(newest - began),
        "ts": wording.moment(ts_ms),
    }
    suppressed, each.suppressed = each.suppressed, 0
    each.is_muted, instance.was_firing = False, is_firing
    each.told.add()
    return Event(
        source=SOURCE + rule.name,
        tags={**tags, **rule.tags},
        fields={
            "what": wording.render(template, wording.values(known, tags, fields, template), rule.name),
            "state": known["state"],
            "rule": rule.name,
            "value": wording.plain(value),
            "since": began,
            "suppressed": suppressed,
            "field": each.condition.field,
            "of": source,
        },
        ts_ms=ts_ms,
        instance=instance,
        kept=Kept(source=source, tags=tags, is_firing=is_firing, began=began, changed=changed, seen=instance.arrived),
    )


def _mute(each: Ready, *, is_back: bool) -> None:
    """A change goes untold. It may still be told late; once `is_back` undoes it, neither of the two ever will be."""
    if is_back:
        each.muted.add(2)
        each.suppressed += 2
    if not each.is_muted:
        each.is_muted = True
        log.warning(
            "event rule has used up its hour, changes are counted", rule=each.rule.name, max_per_hour=each.budget.most
        )
