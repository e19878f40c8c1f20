"""
Where the records of a stream go, and what stands in each of them between its time and its fields.

Worked out once per stream, but a hundred thousand topics that come in turn are new each time. So what depends on
the source alone is kept, and globs are compiled: routing costs a match for each tag that a selection asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate

from agent.events.watch import Rules, Watch
from agent.options import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """
    The lanes that want the records of a stream, and the rules that watch it.

    Streams with the same of both share one: it is known by identity.
    """

    lanes: tuple[str, ...]
    rules: Rules = ()


Where = tuple[tuple[str, Callable[[str], object]], ...]  # the tags to look at, and what their values must match


class Routing:
    """All selections and rules, ready to be asked."""

    def __init__(self, selections: Sequence[Selection], watch: Watch | None) -> None:
        self._selections = {selection.lane: selection for selection in selections}
        self._where = {lane: _compiled(selection) for lane, selection in self._selections.items()}
        self._watch = watch if watch is not None and watch.sources else None
        self._of_source: dict[str, tuple[tuple[str, Where], ...]] = {}
        self._routes: dict[tuple[tuple[str, ...], Rules], Route] = {}
        self._tagless: set[str] = set()  # sources whose records go the same way whatever their tags
        self._whatever_tags: dict[tuple[str, str], Route] = {}  # of these, by source and `never`

    def lanes(self, source: str, tags: Mapping[str, str]) -> tuple[str, ...]:
        """The lanes that want records of that source with those tags."""
        lanes = []
        for lane, where in self._of_source.get(source) or self._meet(source):
            for tag, matches in where:
                value = tags.get(tag)
                if value is None or not matches(value):
                    break
            else:
                lanes.append(lane)
        return tuple(lanes)

    def route(self, source: str, tags: Mapping[str, str], never: str = "") -> Route:
        """The route of such records; `never` is a lane that they must not go to."""
        route = self._whatever_tags.get((source, never))
        if route is not None:
            return route
        lanes = self.lanes(source, tags)
        if never in lanes:
            lanes = tuple(lane for lane in lanes if lane != never)
        key = (lanes, () if self._watch is None else self._watch.of(source, tags))
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = Route(*key)
        if source in self._tagless:
            self._whatever_tags[source, never] = route
        return route

    def _meet(self, source: str) -> tuple[tuple[str, Where], ...]:
        asked = tuple(
            (lane, self._where[lane])
            for lane, selection in self._selections.items()
            if _wants_source(selection, source)
        )
        self._of_source[source] = asked
        if self._watch is None and not any(where for _, where in asked):
            self._tagless.add(source)
        return asked

    def may_go_to(self, sources: Iterable[str]) -> list[str]:
        """The lanes that may get records of one of the sources; with which tags is not known."""
        asked = tuple(sources)
        return [
            lane
            for lane, selection in self._selections.items()
            if any(_wants_source(selection, source) for source in asked)
        ]


def _wants_source(selection: Selection, source: str) -> bool:
    """Whether records of that source are wanted, with some tags at least."""
    return Selection(select=selection.select, exclude=selection.exclude).matches(source, {})


def _compiled(selection: Selection) -> Where:
    return tuple(
        (tag, re.compile("|".join(map(translate, globs)) if globs else "(?!)").match)
        for tag, globs in selection.where.items()
    )
