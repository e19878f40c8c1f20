"""
Topic filters with named levels: `plant/{site}/{device}/state` asks for `plant/+/+/state` and tags by site and device.

`{name}` is one level, `{name#}` at the end is all that follows; `+` and `#` work as in MQTT, without a tag.
`$share/group/...` in front makes it a shared subscription.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import cast

from agent.collectors.mqtt.checksum import crc32
from agent.record import Parse, Stream

MAX_FILTER = 65_535  # bytes: the length of a string in MQTT is 16 bit
ROOM = 16 << 20  # bytes of memory that the routes of one connection may take: see `Routes`
# What a route takes beside its topic; and how often the topic's text is there: by itself, in levels that are tags,
# and both once more in what intake renders.
OVERHEAD, COPIES = 600, 4

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)(#?)\}")


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked of the broker, and what its topics say."""

    text: str  # as the broker wants it: plant/+/+/state
    names: tuple[str, ...]
    pattern: re.Pattern[str]
    group: str = ""  # of a shared subscription

    def tags(self, topic: str) -> dict[str, str] | None:
        """The tags that a topic gives, None where it does not match. An empty level gives no tag."""
        match = self.pattern.fullmatch(topic)
        if match is None:
            return None
        levels = match.groups()
        if all(levels):
            return dict(zip(self.names, levels))  # noqa: B905 a group for each name, and this is the hot path
        return {name: value for name, value in zip(self.names, levels, strict=True) if value}


def parse_filter(topic: str) -> Filter:
    """Read a filter with named levels. Raises ValueError with what is wrong."""
    group, rest = "", topic
    if topic.startswith("$share/"):
        _, group, rest = [*topic.split("/", 2), ""][:3]
        if not group or not rest:
            raise ValueError("expected $share/GROUP/FILTER")
        if any(sign in group for sign in "+#{}"):
            raise ValueError("the group of a shared subscription is a plain word")
    if not rest:
        raise ValueError("a filter is never empty")
    if "\0" in topic:
        raise ValueError("a filter holds no NUL")
    levels, patterns, names = [], [], []
    parts = rest.split("/")
    for position, level in enumerate(parts):
        last = position == len(parts) - 1
        name = _NAME.fullmatch(level)
        if name is not None:
            if name[1] in names:
                raise ValueError(f"the name {name[1]} stands there twice")
            names.append(name[1])
        if level == "#" or (name is not None and name[2]):
            if not last:
                raise ValueError(f"{level} may only be the last level")
            levels.append("#")
            tail = "(.*)" if name is not None else ".*"
            # `a/#` stands for `a` itself too.
            patterns.append(f"(?:/{tail})?" if position else tail)
        elif level == "+" or name is not None:
            levels.append("+")
            patterns.append("/" * (position > 0) + ("([^/]*)" if name is not None else "[^/]*"))
        elif "+" in level or "#" in level:
            raise ValueError(f"+ and # take a whole level, found {level!r}")
        elif "{" in level or "}" in level:
            raise ValueError(
                f"a named level is {{name}}, or {{name#}} at the end, and takes the whole level: {level!r}"
            )
        else:
            levels.append(level)
            patterns.append("/" * (position > 0) + re.escape(level))
    # A wildcard in front never stands for $SYS and its like.
    guard = r"(?!\$)" if levels[0] in "+#" and levels[0] else ""
    text = "/".join(levels)
    full = f"$share/{group}/{text}" if group else text
    if len(full.encode()) > MAX_FILTER:
        raise ValueError(f"longer than {MAX_FILTER} bytes")
    return Filter(full, tuple(names), re.compile(guard + "".join(patterns), re.DOTALL), group)


@dataclass(slots=True, eq=False)  # not frozen: making one is part of what a new topic costs
class Route:
    """What becomes of the messages of one topic."""

    stream: Stream | None  # None: no subscription of ours matches
    retained: bool  # whether retained messages are wanted
    seed: int  # the checksum of the topic, to go on with over the payload


@dataclass(frozen=True, slots=True)
class Source:
    """One subscription, made ready: topics that match its filter become streams."""

    filter: Filter
    retained: bool
    parse: Parse | None


class Routes:
    """
    The route of each topic, made at first sight and kept for the topics seen last.

    A device that makes up topics must not fill the memory, so what is kept takes about `room` bytes at most: new
    ones gather in one half, and when that is full the other half, with the topics unseen for longest, is let go.
    That is nearly least-recently-used at the price of one dictionary look-up a message. More topics in turn than
    there is room for are made again each time, all of them: so that is cheap.
    """

    def __init__(
        self, source: str, tags: Mapping[str, str], sources: Sequence[Source], *, topic_tag: bool, room: int = ROOM
    ) -> None:
        self._source = source
        self._tags = dict(tags)
        self._sources = sources
        self._topic_tag = topic_tag
        self._half = room // 2
        self._size = 0  # bytes, about, of the new ones
        self._new: dict[str, Route] = {}
        self._old: dict[str, Route] = {}

    def __len__(self) -> int:
        return len(self._new.keys() | self._old.keys())

    def find(self, topic: str) -> Route:
        """The route of a topic."""
        route = self._new.get(topic)
        if route is not None:
            return route
        route = self._old.get(topic) or self._make(topic)
        size = OVERHEAD + COPIES * getsizeof(topic)
        if self._size + size > self._half:
            self._old, self._new, self._size = self._new, {}, 0
        self._size += size
        self._new[topic] = route
        return route

    def all(self, topics: Sequence[str]) -> list[Route]:
        """The route of each topic."""
        known = list(map(self._new.get, topics))
        if None not in known:
            return cast("list[Route]", known)
        return [route or self.find(topic) for route, topic in zip(known, topics, strict=True)]

    def _make(self, topic: str) -> Route:
        seed = crc32(topic.encode())
        for source in self._sources:
            levels = source.filter.tags(topic)
            if levels is not None:
                tags = self._tags.copy()
                if self._topic_tag:
                    tags["topic"] = topic
                tags.update(levels)
                return Route(Stream(self._source, tags, source.parse), source.retained, seed)
        return Route(None, False, seed)
