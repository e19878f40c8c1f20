"""Finds the class behind a `type`: in the agent's own tables first, then among other packages' entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from agent import collectors, sinks

Role = Literal["collectors", "sinks"]


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of one role."""

    own: Mapping[str, str]
    group: str

    def find(self, kind: str) -> type | None:
        """The class of that kind, or None where there is none. Raises what importing it raises."""
        if kind in self.own:
            module, _, name = self.own[kind].partition(":")
            found: type = getattr(import_module(module), name)
            return found
        from importlib.metadata import entry_points  # reads every installed package: for foreign kinds only

        for entry in entry_points(group=self.group, name=kind):
            loaded: type = entry.load()
            return loaded
        return None

    def names(self) -> list[str]:
        """Every kind there is, the agent's own first."""
        from importlib.metadata import entry_points

        return [*self.own, *sorted({entry.name for entry in entry_points(group=self.group)} - set(self.own))]


KINDS: Mapping[Role, Kinds] = {
    "collectors": Kinds(collectors.KINDS, collectors.GROUP),
    "sinks": Kinds(sinks.KINDS, sinks.GROUP),
}
