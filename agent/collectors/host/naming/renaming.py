"""Gives the rows of readings their other names: the records stay the same, one a group and instance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from agent.collectors.host.naming.names import Names, Naming, To, rounded
from agent.collectors.host.readings import Fields, Reading, Row, Tags


def renamed(readings: list[Reading], naming: Naming) -> list[Reading]:
    """The same readings, whose rows have the names and units of that naming."""
    return [
        Reading(reading.group, reading.label, Renamed(reading, naming.groups[reading.group]).read)
        for reading in readings
    ]


class Renamed:
    """One reading under other names. Keeps the counters of the last tick, of which rates are made."""

    def __init__(self, reading: Reading, names: Names) -> None:
        self._reading = reading
        self._names = names
        self._last: Mapping[Tags, Mapping[str, float]] = {}
        self._when = 0.0

    def read(self) -> Iterator[Row | Reading]:
        """What the reading gives, renamed; the readings that it gives in turn are renamed too."""
        now = time.monotonic()
        found = list(self._reading.read())
        rows = [each for each in found if isinstance(each, Row)]
        inner = [each for each in found if isinstance(each, Reading)]
        passed, before = now - self._when, self._last
        self._last, self._when = {row.tags: row.fields for row in rows}, now
        new = _told(rename(row, self._names, before.get(row.tags), passed) for row in rows)
        if inner:
            yield from self._inner(inner)
        elif self._names.summary is not None:
            yield from self._names.summary(new)
        else:
            yield from new

    def _inner(self, readings: list[Reading]) -> Iterator[Reading]:
        answers: dict[str, list[Row]] = {}

        def reading(one: Reading) -> Reading:
            def read() -> Iterable[Row]:
                rows = (row for row in one.read() if isinstance(row, Row))
                answers[one.label] = _told(rename(row, self._names, None, 0.0) for row in rows)
                return answers[one.label]

            return Reading(one.group, one.label, read)

        def together() -> Iterable[Row]:
            # A sum without the mount that hangs would tell of a disk that was taken out.
            if summary is None or len(answers) < len(readings):
                return ()
            rows = [row for rows in answers.values() for row in rows]
            return summary(rows)[len(rows) :]

        summary = self._names.summary
        yield from map(reading, readings)
        if summary is not None:
            yield Reading(self._reading.group, f"{self._reading.label} together", together)


def _told(rows: Iterable[Row]) -> list[Row]:
    """Without those that say nothing yet: all they have is rates, and it is their first tick."""
    return [row for row in rows if row.fields]


def rename(row: Row, names: Names, before: Mapping[str, float] | None, passed: float) -> Row:
    """One row, with the counters it had `passed` seconds ago, if it was there."""
    names = names.special.get(row.tags, names)
    rates = growth(row.fields, before, names, passed) if before is not None and passed > 0 else {}
    fields: Fields = {}
    for field, value in row.fields.items():
        match names.fields.get(field):
            case To(name, unit, rate):
                if not rate:
                    fields[name] = value if unit is None else unit.convert(value)
                elif field in rates:
                    grown = rates[field] * rate
                    fields[name] = rounded(grown) if unit is None else unit.convert(grown)
            case None:
                fields[names.rest(field) if names.rest is not None else field] = value
    for also in names.also:
        values = [fields.get(need) for need in also.needs]
        if None not in values:
            fields[also.name] = rounded(also.of(*values))
    tags = tuple((names.tags[tag].name if tag in names.tags else tag, value) for tag, value in row.tags)
    return Row(row.source, names.retag(tags) if names.retag is not None else tags, fields)


def growth(now: Mapping[str, float], before: Mapping[str, float], names: Names, passed: float) -> Mapping[str, float]:
    """How much each counter that is to be a rate grew in a second; none where one of them was reset."""
    grown = {
        field: now[field] - before[field]
        for field, to in names.fields.items()
        if isinstance(to, To) and to.rate and field in now and field in before
    }
    if any(value < 0 for value in grown.values()):
        return {}
    return {field: value / passed for field, value in grown.items()}
