"""The rows of tests/faults.toml, and the functions that do what they say."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from faults.stage import Stage

TABLE = Path(__file__).parents[1] / "faults.toml"
GROUPS = ("kills", "far", "near", "machine", "damage", "long", "reload")

Work = Callable[["Stage"], None]
_work: dict[str, Work] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault."""

    id: str
    group: str
    does: str
    times: int  # in the full form
    quick: int  # in the form that `make test` runs
    loss: Literal["none", "counted"]
    peer: str = ""


@cache
def rows() -> tuple[Row, ...]:
    """All of them, in the order of the file. ValueError where two share an id, or a group is none."""
    found = tuple(Row(**each) for each in tomllib.loads(TABLE.read_text())["row"])
    if len({row.id for row in found}) != len(found):
        raise ValueError(f"{TABLE.name}: an id stands there twice")
    if strange := {row.group for row in found} - set(GROUPS):
        raise ValueError(f"{TABLE.name}: no such group: {', '.join(sorted(strange))}")
    return found


def of(group: str) -> list[Row]:
    """The rows of a group."""
    return [row for row in rows() if row.group == group]


def fault(id: str) -> Callable[[Work], Work]:
    """This function does the row of that id."""

    def known(work: Work) -> Work:
        if id in _work:
            raise ValueError(f"{id} is done by two functions")
        _work[id] = work
        return work

    return known


def work(row: Row) -> Work:
    """What does that row. LookupError where nothing does."""
    importlib.import_module(f"faults.{row.group}")
    if row.id not in _work:
        raise LookupError(f"nothing in faults/{row.group}.py does {row.id}")
    return _work[row.id]
