"""
What a disk has for good, and what only looks so: files and folders with all that was done since they were synced.

A power cut leaves of a file what was synced; of later writes nothing, all, a torn beginning, or blocks in any order. Of
a folder it leaves the names that were synced; of later changes all, the first few, or any. That is as little as POSIX
promises: a synced file is no synced name, and a rename is one step that may be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

BLOCK = 512

Entry = tuple[Any, ...]  # the name of a method of Tree and its arguments, or "note" and what somebody wants to know


@dataclass
class File:
    """What the disk has, and what was written since."""

    synced: bytes = b""
    later: list[tuple[int, bytes | None]] = field(default_factory=list)  # place and data; None: cut off there

    def versions(self) -> list[bytes]:
        """The synced one and what each later write made of it."""
        out = [self.synced]
        for place, data in self.later:
            former = out[-1]
            out.append(
                former[:place].ljust(place, b"\0") + (b"" if data is None else data + former[place + len(data) :])
            )
        return out

    def left(self, rng: Random) -> bytes:
        """What a power cut leaves."""
        versions = self.versions()
        match rng.choice(["nothing", "all", "torn", "blocks"]):
            case "nothing":
                return versions[0]
            case "all":
                return versions[-1]
            case "torn" if self.later:
                place = rng.randrange(len(self.later))
                return torn(versions[place], *self.later[place], rng)
        size = rng.choice(
            [len(one) for one in versions] + [rng.randint(*sorted((len(versions[0]), len(versions[-1]))))]
        )
        blocks = []
        for start in range(0, size, BLOCK):
            block = rng.choice(versions)[start : start + BLOCK]
            blank = rng.randbytes(BLOCK) if rng.random() < 0.1 else bytes(BLOCK)  # what stood there before, perhaps
            blocks.append(block + blank[len(block) :])
        return b"".join(blocks)[:size]


def torn(former: bytes, place: int, data: bytes | None, rng: Random) -> bytes:
    """A write of which only the beginning was made."""
    if data is None:
        return former[: rng.randint(place, max(place, len(former)))]
    part = data[: rng.randint(0, len(data))]
    return former[:place].ljust(place, b"\0") + part + former[place + len(part) :]


@dataclass
class Folder:
    """The same for names: each change is a step of its own."""

    synced: dict[str, int] = field(default_factory=dict)
    later: list[dict[str, int | None]] = field(default_factory=list)

    def after(self, changes: Sequence[dict[str, int | None]]) -> dict[str, int]:
        """The names with these changes made."""
        merged: dict[str, int | None] = dict(self.synced)
        for change in changes:
            merged.update(change)
        return {name: number for name, number in merged.items() if number is not None}

    def left(self, rng: Random) -> dict[str, int]:
        """What a power cut leaves."""
        match rng.choice(["all", "first", "any"]):
            case "all":
                return self.after(self.later)
            case "first":
                return self.after(self.later[: rng.randint(0, len(self.later))])
        return self.after([change for change in self.later if rng.random() < 0.5])


class Tree:
    """Files and folders by number; 0 is the root. Names stand in folders alone."""

    def __init__(self) -> None:
        self.nodes: dict[int, File | Folder] = {0: Folder()}

    def apply(self, entry: Entry) -> None:
        what, *arguments = entry
        if what != "note":
            getattr(self, what)(*arguments)

    def make(self, folder: int, name: str, number: int, node: type[File | Folder]) -> None:
        self.nodes[number] = node()
        self.name(folder, {name: number})

    def name(self, folder: int, change: dict[str, int | None]) -> None:
        self.nodes[folder].later.append(change)

    def write(self, number: int, place: int, data: bytes) -> None:
        self.nodes[number].later.append((place, data))

    def cut(self, number: int, size: int) -> None:
        self.nodes[number].later.append((size, None))

    def sync(self, number: int) -> None:
        node = self.nodes[number]
        node.synced = node.versions()[-1] if isinstance(node, File) else node.after(node.later)
        node.later = []

    def at(self, parts: Sequence[str]) -> int | None:
        """The number of what that path names."""
        number = 0
        for part in parts:
            folder = self.nodes[number]
            found = folder.after(folder.later).get(part) if isinstance(folder, Folder) else None
            if found is None:
                return None
            number = found
        return number

    def after_power_cut(self, rng: Random) -> Tree:
        """What is left, all of it synced."""
        out = Tree()
        numbers = count(1)

        def keep(folder: Folder, into: Folder) -> None:
            for name, number in folder.left(rng).items():
                node = self.nodes[number]
                made = into.synced[name] = next(numbers)
                if isinstance(node, File):
                    out.nodes[made] = File(node.left(rng))
                else:
                    below = out.nodes[made] = Folder()
                    keep(node, below)

        keep(self.nodes[0], out.nodes[0])
        return out

    def put(self, place: Path, number: int = 0) -> None:
        """Make it real in an empty directory."""
        folder = self.nodes[number]
        for name, below in folder.after(folder.later).items():
            node = self.nodes[below]
            if isinstance(node, File):
                (place / name).write_bytes(node.versions()[-1])
            else:
                (place / name).mkdir()
                self.put(place / name, below)

    def files(self, number: int = 0, path: str = "") -> dict[str, bytes]:
        """What stands in every file."""
        folder, out = self.nodes[number], {}
        for name, below in folder.after(folder.later).items():
            node = self.nodes[below]
            if isinstance(node, File):
                out[path + name] = node.versions()[-1]
            else:
                out |= self.files(below, f"{path}{name}/")
        return out
