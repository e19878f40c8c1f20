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


KeptRules = dict[str, KeptRule]


def key(source: str, tags: Mapping[str, str]) -> Key:
    """What an instance is known by from one run to the next."""
    return source, tuple(sorted(tags.items()))
