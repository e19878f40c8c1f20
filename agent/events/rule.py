"""One `[[events]]` table: the options of a rule, and what can be wrong with them together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agent.events import wording
from agent.events.condition import Condition, meet
from agent.options import Selection
from agent.schema import Duration, OneOrMore, option

NAME = re.compile(r"[a-z0-9_-]+")
SOURCE = "event."  # the sources of events begin with it, and no rule watches them
OWN = "agent"  # event.agent: what the agent says of itself
BOOKS = "events"  # what events are booked under at intake, as if there were a collector of that name
WEEK = 604_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    A rule that watches a field and gives a record of the source `event.NAME` when its state changes.

    Each set of tags has a state of its own: a rule over `host.disk` fires for each file system by itself.
    """

    name: str = option("The name of the rule: its events are records of the source `event.NAME`.", example="disk-full")
    when: str = option(
        "When it fires: SOURCE.FIELD, an operator and a value. The source is the first two words between dots, and may "
        "be a glob; the rest names the field, within objects by dots. Operators: > >= < <= == !=. A value is a number, "
        'a "text", true or false.',
        example="host.disk.used_percent > 90",
    )
    where: dict[str, OneOrMore] = option(
        "Tags a record must have to be watched: tag = glob or list of globs, all of them met.",
        factory=dict,
        example={"path": ["/", "/var*"]},
    )
    lasting: Duration = option(
        "How long samples must meet the condition before it fires, by the times of the records.",
        0.0,
        key="for",
        high=WEEK,
        example="5m",
    )
    clear: str | None = option(
        "What ends it: a condition of the same field, such as host.disk.used_percent < 85, or `< 85` for short.",
        None,
        default_text="`when` does not hold",
        example="< 85",
    )
    min_hold: Duration = option(
        "How long a state is kept at least, so that a value which trembles around the threshold says little.",
        0.0,
        high=WEEK,
        example="1m",
    )
    max_per_hour: int = option(
        "Most events of this rule within an hour, over all tags. Changes beyond it are counted in the field "
        "`suppressed` of the next event.",
        60,
        low=1,
        high=3600,
    )
    tags: dict[str, str] = option(
        "Tags of the event beside those of the record that caused it; these win.",
        factory=dict,
        example={"severity": "warning"},
    )
    what: str = option(
        "The text of an event when it fires. {NAME} stands for value, threshold, field, source, rule, state, host, "
        "tags, tags.X, fields.X, since, for or ts; {{ and }} for braces.",
        wording.WHAT,
    )
    what_clear: str = option("The text when it is over.", wording.WHAT_CLEAR)

    @property
    def condition(self) -> Condition:
        """What fires it. Raises ValueError."""
        return Condition.parse(self.when)

    @property
    def clearing(self) -> Condition:
        """What ends it. Raises ValueError."""
        return self.condition.negation if self.clear is None else Condition.parse_clear(self.clear, self.condition)

    @property
    def selection(self) -> Selection:
        """The records it watches."""
        return Selection(select=(self.condition.source,), where=self.where)

    def problems(self) -> list[tuple[str, str]]:
        """What does not read as a name, a condition or a template, and conditions that contradict each other."""
        listed: list[tuple[str, str]] = []

        def look(name: str, read: Callable[[], object]) -> bool:
            try:
                read()
            except ValueError as error:
                listed.append((name, str(error)))
                return False
            return True

        if not NAME.fullmatch(self.name):
            listed.append(("name", f'expected a name made of a-z, 0-9, _ and -, found "{self.name}"'))
        elif self.name == OWN:
            listed.append(("name", "event.agent is what the agent says of itself: choose another name"))
        if look("when", lambda: self.condition):
            if self.condition.source.startswith(SOURCE):
                listed.append(("when", "events are not watched: expected a source that is none"))
            if look("clear", lambda: self.clearing):
                both = meet(self.condition, self.clearing)
                if both is not None:
                    text = f"{both!r} would meet both when and clear: it would fire and be over with every sample"
                    listed.append(("clear", text))
            listed += [each for each in self.selection.problems() if each[0].startswith("where")]
        look("what", lambda: wording.template(self.what))
        look("what_clear", lambda: wording.template(self.what_clear))
        return listed
