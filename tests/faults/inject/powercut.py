"""
What a power cut leaves of a directory, out of the journal of the process that worked in it.

Durable is what a sync promised: of a file its bytes as they were when it was called, of a directory its names, and
nothing else; a file that was synced and whose name was not is gone. Everything after that lay in memory. Either it is
lost, or any part of it has reached the disk: of each sector any of the states it went through, of each directory any
of the changes, whatever their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

SECTOR = 512  # bytes that are written as a whole, or not
_SHARES = (0.1, 0.5, 0.9)  # of what was not synced, how much has come to the disk


@dataclass
class _File:
    durable: bytes = b""
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)  # entry, offset, bytes; None: cut there

    def sync(self, before: int) -> None:
        image = bytearray(self.durable)
        for number, at, data in self.pending:
            if number < before:
                _change(image, at, data)
        self.durable = bytes(image)
        self.pending = [each for each in self.pending if each[0] >= before]

    def live(self) -> bytes:
        """The file as programs saw it."""
        image = bytearray(self.durable)
        for _, at, data in self.pending:
            _change(image, at, data)
        return bytes(image)

    def torn(self, rng: Random) -> bytes:
        """The file with any part of what is pending."""
        share = rng.choice(_SHARES)
        image = bytearray(self.durable)
        sizes = [len(image)]
        states: dict[int, list[bytes]] = {}  # of each sector that was touched
        for _, at, data in self.pending:
            before = len(image)
            _change(image, at, data)
            sizes.append(len(image))
            first, last = min(at, before), max(at + len(data or b""), before if data is None else 0)
            for sector in range(first // SECTOR, -(-last // SECTOR)):
                states.setdefault(sector, [_sector(self.durable, sector)]).append(_sector(image, sector))
        size = rng.choice(sizes)
        found = bytearray(self.durable[:size].ljust(size, b"\0"))
        for sector, known in states.items():
            chosen = rng.choice(known[1:]) if rng.random() < share else known[0]
            start = sector * SECTOR
            if start < size:
                end = min(start + SECTOR, size)
                found[start:end] = chosen[: end - start].ljust(end - start, b"\0")
        return bytes(found)


@dataclass
class _Directory:
    durable: dict[str, _Node] = field(default_factory=dict)
    pending: list[tuple[int, dict[str, _Node | None]]] = field(default_factory=list)  # entry, names and what they mean
    live: dict[str, _Node] = field(default_factory=dict)  # as programs saw it

    def change(self, number: int, change: dict[str, _Node | None]) -> None:
        self.pending.append((number, change))
        _rename(self.live, change)

    def sync(self, before: int) -> None:
        for number, change in self.pending:
            if number < before:
                _rename(self.durable, change)
        self.pending = [each for each in self.pending if each[0] >= before]

    def torn(self, rng: Random) -> dict[str, _Node]:
        """The names with any of the changes that are pending."""
        share = rng.choice(_SHARES)
        names = dict(self.durable)
        for _, change in self.pending:
            if rng.random() < share:
                _rename(names, change)
        return names


_Node = _File | _Directory


def leave(journals: Sequence[Path], top: Path, rng: Random | None = None) -> None:
    """
    Make `top`, which must not exist, what a power cut at the last journal's end has left of that directory.

    `journals` are those of the processes that worked in it since all was durable, one after the other: what one of
    them was killed over without having synced it, the next one found and had not synced either. With `rng` what was
    not synced is left in part, without it is lost. Nothing is made where the directory's own name was not durable yet.
    """
    root = _Directory()
    count = 0
    for journal in journals:
        count = _replay(journal, root, count, is_first=journal == journals[0])
    names = _names(root, rng)
    if top.name in names:
        _write(names[top.name], top, rng)


def _replay(journal: Path, root: _Directory, start: int, *, is_first: bool) -> int:
    """Do again what the journal tells, its entries counted from `start` on; gives the number of the next."""
    nodes: dict[int, _Node] = {0: root}
    number = start
    for number, (entry, data) in enumerate(_entries(journal), start):
        match entry["op"]:
            case "found":
                nodes[entry["of"]] = _found(_directory(nodes, entry["in"]), entry, data, number, is_first=is_first)
            case "made":
                nodes[entry["of"]] = _Directory() if entry["directory"] else _File()
                _directory(nodes, entry["in"]).change(number, {entry["name"]: nodes[entry["of"]]})
            case "write":
                _file(nodes, entry["of"]).pending.append((number, entry["at"], data))
            case "cut":
                _file(nodes, entry["of"]).pending.append((number, entry["to"], None))
            case "move" if entry["in"] == entry["to"]:
                change = {entry["name"]: None, entry["as"]: nodes[entry["of"]]}
                _directory(nodes, entry["in"]).change(number, change)
            case "move":
                _directory(nodes, entry["to"]).change(number, {entry["as"]: nodes[entry["of"]]})
                _directory(nodes, entry["in"]).change(number, {entry["name"]: None})
            case "drop":
                _directory(nodes, entry["in"]).change(number, {entry["name"]: None})
            case "sync":
                nodes[entry["of"]].sync(start + entry["before"])
            case strange:
                raise ValueError(f"{journal}: entry {number} does {strange}, which nothing does")
    return number + 1


def _found(folder: _Directory, entry: dict[str, Any], data: bytes, number: int, *, is_first: bool) -> _Node:
    """What a process found at its start: all durable, or what those before it have left."""
    name = entry["name"]
    node = folder.live.get(name)
    if node is None:
        node = _Directory() if entry["directory"] else _File()
        if is_first:
            folder.durable[name] = folder.live[name] = node
        else:  # made in the moment of the kill
            folder.change(number, {name: node})
    if isinstance(node, _File) and is_first:
        node.durable = data
    elif isinstance(node, _File) and node.live() != data:  # written in the moment of the kill
        node.pending += [(number, 0, None), (number, 0, data)]
    return node


def _entries(journal: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every whole entry; the last may have been cut off by the kill."""
    text, at = journal.read_bytes(), 0
    while (end := text.find(b"\n", at)) >= 0:
        entry = json.loads(text[at:end])
        at = end + 1 + entry["size"]
        if at > len(text):
            return
        yield entry, text[end + 1 : at]


def _directory(nodes: dict[int, _Node], number: int) -> _Directory:
    found = nodes[number]
    assert isinstance(found, _Directory)
    return found


def _file(nodes: dict[int, _Node], number: int) -> _File:
    found = nodes[number]
    assert isinstance(found, _File)
    return found


def _names(node: _Directory, rng: Random | None) -> dict[str, _Node]:
    return dict(node.durable) if rng is None else node.torn(rng)


def _write(node: _Node, path: Path, rng: Random | None) -> None:
    if isinstance(node, _File):
        path.write_bytes(node.durable if rng is None else node.torn(rng))
        path.chmod(0o600)
        return
    path.mkdir(mode=0o700)
    for name, child in _names(node, rng).items():
        _write(child, path / name, rng)


def _rename(names: dict[str, _Node], change: dict[str, _Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _change(image: bytearray, at: int, data: bytes | None) -> None:
    """Write there, or cut there; what lies beyond the end until then is zeros."""
    if len(image) < at:
        image.extend(bytes(at - len(image)))
    if data is None:
        del image[at:]
    else:
        image[at : at + len(data)] = data


def _sector(image: bytes | bytearray, sector: int) -> bytes:
    return bytes(image[sector * SECTOR : (sector + 1) * SECTOR])
