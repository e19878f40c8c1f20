"""A rule made ready to be asked of every sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from agent.events import wording
from agent.events.condition import Condition
from agent.events.kept import Kept, Key
from agent.events.machine import Budget, Instance
from agent.events.rule import Rule
from agent.options import Selection
from agent.stats import Counter, Stats
from agent.template import Template


@dataclass(slots=True, eq=False)
class Told(Instance):
    """An instance, and what its events have said."""

    was_firing: bool = False  # the state that its last event told
    kept: Kept | None = None  # the state that its last durable event told


@dataclass(slots=True, eq=False)
class Ready:
    """A rule, everything in its table read; and the instances it has."""

    rule: Rule
    condition: Condition
    clearing: Condition
    selection: Selection
    lasting: int  # ms
    hold: int  # ms
    what: Template
    what_clear: Template
    threshold: str
    watches: str  # the same for rules that watch the same
    budget: Budget
    told: Counter
    muted: Counter
    instances: dict[bytes, Told] = field(default_factory=dict)  # by what stands in a record between time and fields
    earlier: dict[Key, Kept] = field(default_factory=dict)  # of former runs, until their tags are met again
    suppressed: int = 0
    is_muted: bool = False

    @classmethod
    def of(cls, rule: Rule, stats: Stats) -> Ready:
        """The rule made ready. Raises ValueError where it has mistakes."""
        condition = rule.condition
        where = {tag: sorted(set(globs)) for tag, globs in rule.where.items()}
        return cls(
            rule=rule,
            condition=condition,
            clearing=rule.clearing,
            selection=rule.selection,
            lasting=round(rule.lasting * 1000),
            hold=round(rule.min_hold * 1000),
            what=wording.template(rule.what),
            what_clear=wording.template(rule.what_clear),
            threshold=wording.readable(condition.threshold),
            watches=json.dumps([str(condition), where], sort_keys=True, ensure_ascii=False),
            budget=Budget(rule.max_per_hour),
            told=stats.counter("agent_events_told_total", "Events that rules have caused.", rule=rule.name),
            muted=stats.counter(
                "agent_events_suppressed_total",
                "Changes of state beyond max_per_hour that were never told, not even late.",
                rule=rule.name,
            ),
        )

    def firing(self) -> int:
        """For how many sets of tags it fires."""
        earlier = sum(kept.is_firing is not kept.is_untold for kept in self.earlier.values())
        return earlier + sum(instance.is_firing for instance in self.instances.values())
