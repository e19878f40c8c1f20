"""What rules leave for the next run: which of them have said that they fire, for which tags, since when."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Key = tuple[str, tuple[tuple[str, str], ...]]


class Kept(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state that the last durable event of a rule over a set of tags told. Times are ms since 1970."""

    source: str
    tags: dict[str, str]
    is_firing: bool = True
    began: int  # when the condition began to hold
    changed: int  # when the state changed
    seen: int  # when a sample came in last
    is_untold: bool = False  # it has changed once more since, beyond max_per_hour: `began`, `changed` are that state's

    @property
    def key(self) -> Key:
        """The same for the same tags, whatever their order."""
        return key(self.source, self.tags)


class KeptRule(msgspec.Struct, kw_only=True):
    """What one rule leaves."""

    watches: str  # what it watched: a rule that watches something else has nothing to do with it
    suppressed: int = 0
    spent: list[int] = []
    states: list[Kept] = []
    # What stood in the events beside the records' own tags: the rule's tags, and of those of the records the agent's.
    tags: dict[str, str] = {}
    fixed: dict[str, str] | None = None  # None: written by a version that did not note it


class Lately(msgspec.Struct, frozen=True, kw_only=True):
    """An event that stands in the spool, and may have come there after the file was written."""

    rule: str
    source: str  # the one that was watched
    tags: dict[str, str]  # of the event
    is_firing: bool
    began: int
    changed: int
    seen: int


KeptRules = dict[str, KeptRule]


def key(source: str, tags: Mapping[str, str]) -> Key:
    """What an instance is known by from one run to the next."""
    return source, tuple(sorted(tags.items()))
