"""The dead letters of a state directory as the commands see them: without a lock, and with those still on their way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.spool import books, dead, inventory
from agent.spool.lines import Letter


def found(directory: Path, sink: str | None = None) -> Iterator[Letter]:
    """Those in the files, then those still in the log."""
    kept = inventory.look(directory / "dead-letters")
    seen = {_key(letter) for letter in kept.letters}
    for letter in kept.letters:
        if sink is None or letter.get("sink") == sink:
            yield letter
    for letter in waiting(directory, kept.at):
        # A kill between a letter and what the cursor says of it makes a second one, which the files will leave out.
        if letter.get("id") is not None and _key(letter) in seen:
            continue
        seen.add(_key(letter))
        if sink is None or letter.get("sink") == sink:
            yield letter


def _key(letter: Letter) -> tuple[str, str]:
    return str(letter.get("id")), str(letter.get("sink"))


def waiting(directory: Path, at: int) -> Iterator[Letter]:
    """Those that an agent has not moved from its log into the files, from index `at` on."""
    lane = directory / "lanes" / dead.LANE
    if lane.is_dir():
        for index, letter in books.letters_in(lane, at):
            yield {"at": index, **letter}
