"""The schemas that a sink's mapping needs, by the product name they have at the service."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.cli import state as states
from agent.cli.insight.reach import Reach
from agent.config.messages import did_you_mean
from agent.service.exits import Exit
from agent.sinks.cloud_insight.feeds import Table
from agent.sinks.cloud_insight.fields import Field, fields_of
from agent.sinks.cloud_insight.preset import PRODUCT

# CreateCustomSchema: a custom product's name begins so. What else it may hold is not published; how the gateway signs
# over characters that a query escapes is not, either.
_NAME = re.compile(r"Custom/[!-~]+")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A schema as the mapping needs it."""

    name: str  # its product name, "" where the configuration has none
    place: str  # in the configuration
    table: Table
    key: str | None  # the cw_key written in the configuration
    key_file: Path | None

    @property
    def fields(self) -> Sequence[Field]:
        """What it must have."""
        return fields_of(self.table)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or self.place


def mapped(reach: Reach) -> list[Mapped]:
    """Those of the sink, the preset's first."""
    sink, tables = reach.sink, list(reach.sink.tables)
    found = []
    if sink.preset is not None:
        place, key = f"sinks.{reach.name}", None if sink.cw_key is None else str(sink.cw_key)
        found.append(Mapped(sink.schema_name or PRODUCT, place, tables.pop(0), key, sink.cw_key_file))
    for n, table in enumerate(tables):
        schema = table.schema
        key = None if schema.cw_key is None else str(schema.cw_key)
        found.append(Mapped(schema.name, f"sinks.{reach.name}.schema[{n}]", table, key, schema.cw_key_file))
    return found


def chosen(reach: Reach, name: str | None) -> Mapped:
    """The one of that product name, or the only one. Ends the command where that is none."""
    every = mapped(reach)
    names = [each.name for each in every if each.name]
    if name is None and len(every) == 1:
        (found,) = every
        return _nameable(found)
    if name is None:
        states.fail(f"expected the name of one of the schemas of sinks.{reach.name}: {', '.join(names)}", Exit.USAGE)
    matching = [each for each in every if each.name == name]
    if len(matching) != 1:
        text = f"sinks.{reach.name} has {len(matching) or 'no'} schema{'s' * bool(matching)} of the name {name}"
        there = f"; there are {', '.join(names)}" if names else ': give its table name = "Custom/..."'
        states.fail(states.printable(f"{text}{there}{did_you_mean(name, names)}"), Exit.USAGE)
    return _nameable(matching[0])


def keep_key(path: Path, cw_key: str, *, agents: Path) -> None:
    """
    Write a key to a file, whole or not at all, for the agent to read and nobody else.

    `agents`: a directory of the agent's: where root writes, its owner is to read the file. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            if os.geteuid() == 0 and agents.is_dir():
                owner = agents.stat()
                os.fchown(fd, owner.st_uid, owner.st_gid)
            file.write(f"{cw_key}\n")
            file.flush()
            os.fsync(fd)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _nameable(found: Mapped) -> Mapped:
    if not _NAME.fullmatch(found.name):
        expected = 'expected name = "Custom/..." of letters, digits and signs without blanks'
        states.fail(f'{found.place}: {expected}, found "{states.printable(found.name)}"', Exit.CONFIG)
    return found
