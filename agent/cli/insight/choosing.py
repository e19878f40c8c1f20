"""What is meant among what there is: one of a few words, or a thing of the account by its id or its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol, TypeVar

from agent.cli import state as states
from agent.config.messages import did_you_mean
from agent.service.exits import Exit

T = TypeVar("T")


class Named(Protocol):
    """Something with an id of its own and a name that others may have, too."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


def word(option: str, text: str, known: Mapping[str, T]) -> T:
    """The value of a word, in capitals or not. One that is not known ends the command."""
    found = known.get(text.casefold())
    if found is None:
        states.fail(f"{option}: expected one of {', '.join(map(str, known.values()))}, found {text!r}", Exit.USAGE)
    return found


def thing(what: str, text: str, there: Sequence[Thing]) -> Thing:
    """The one with that id, else that name. Ends the command where there is none, or where several have the name."""
    for found in ([each for each in there if each.id == text], [each for each in there if each.name == text]):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(each.id for each in found)
            _refuse(f"{len(found)} {what}s have the name {text!r}: give one of their ids, {ids}", Exit.USAGE)
    names = [each.name for each in there]
    near = did_you_mean(text, [*names, *(each.id for each in there)])
    listed = f"there are {', '.join(names)}" if names else "there is none"
    return _refuse(f"no {what} {text!r}; {listed}{near}", Exit.REFUSED)


def _refuse(text: str, code: Exit) -> NoReturn:
    states.fail(states.printable(text), code)
