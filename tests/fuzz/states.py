"""
Target `state`: any bytes in the place of a file of the state directory are read for what they are worth.

Checksums are put right where a byte says so: what they let pass is then any bytes, too.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import struct
import tempfile
import zlib
from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson
import pytest

from agent import remembered
from agent.errors import StateError, StateTooNew
from agent.events import memory
from agent.events.kept import KeptRule
from agent.spool import head, inventory, recovery, segment
from agent.spool.cursor import kept
from agent.spool.frame import HEADER_BYTES, MAGIC, NO_BOOT, Stamp, draft
from agent.spool.letters import Letters
from agent.spool.lines import emptied, rewritten
from agent.spool.mark import MAGIC as MARK_MAGIC
from agent.spool.mark import SLOT_BYTES, Mark
from agent.spool.part import Kind
from agent.spool.state import held

SEGMENT = 0xA1B2C3D4E5F60718
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-state-")
HERE = Path(_FOLDER.name)


def _trouble(path: Path, what: str, aside: bool) -> None:
    assert what


def _mark(data: bytes, decode: Callable[[Mark], object], slot: int = SLOT_BYTES) -> None:
    path = HERE / "mark"
    path.write_bytes(data)
    mark = Mark(path, slot)
    if mark.load():
        decode(mark)
    mark.write({"new": 1}, sync=False)  # whatever stood there, what is written next counts
    mark.close()
    again = Mark(path, slot)
    assert again.load()
    assert again.value == {"new": 1}


def cursor(data: bytes) -> None:
    """A cursor's file."""
    _mark(data, lambda mark: kept(mark.value or {}))
    path = HERE / "lake.cursor"
    path.write_bytes(data)
    recovery.read_cursor(path, _trouble)


def head_mark(data: bytes) -> None:
    """A head mark."""
    _mark(data, lambda mark: head.decoded(mark.value or {}), head.SLOT_BYTES)


def segment_file(data: bytes) -> None:
    """A segment, as a start and a reader go through it."""
    folder = HERE / "all"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / segment.name(40, SEGMENT)).write_bytes(data)
    found = recovery.lane(folder, _trouble)
    for one in found.segments:
        for header, text in recovery.frames(one):
            assert header.size <= len(data)
            if text is not None:
                assert len(recovery.records(header, text)) == header.records
    recovery.unacked({"all": found}, 0, {})


def letters(data: bytes) -> None:
    """A file of dead letters, as whoever looks and whoever writes on go through it."""
    folder = HERE / "dead-letters"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / f"{5:016d}.ndjson"
    path.write_bytes(data)
    seen = inventory.look(folder)
    assert rewritten(data).count(b'"seq"') <= data.count(b'"seq"')
    emptied(data.splitlines(keepends=True), 5, 9)
    shelf = Letters(folder, max_bytes=1 << 20, max_age=math.inf, sync=False, now=lambda: 0.0)
    shelf.load()
    shelf.append(10**9, [b'{"id":"new-1","sink":"lake","payload":"{}"}'])
    shelf.close()
    after = inventory.look(folder)
    assert {str(one.get("id")) for one in seen.letters} <= {str(one.get("id")) for one in after.letters}
    assert "new-1" in {one.get("id") for one in after.letters}


def counts(data: bytes) -> None:
    """The counts of dead letters."""
    folder = HERE / "dead-counts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "counts").write_bytes(data)
    inventory.look(folder)
    shelf = Letters(folder, max_bytes=1 << 20, max_age=math.inf, sync=False, now=lambda: 0.0)
    shelf.load()
    shelf.drop(10**9, [b'{"id":"new-1","sink":"lake","payload":"{}"}'])
    shelf.close()


def small(data: bytes) -> None:
    """The files of a few words: format, instance, lock; what was subscribed to; which rules fire."""
    folder = HERE / "state"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lanes").mkdir(parents=True)
    for name in ("format", "instance", "lock", remembered.NAME, memory.NAME):
        (folder / name).write_bytes(data)
    try:
        with held(folder, "1.2.3", 1 << 20) as state:
            assert len(state.instance) == 16
            state.prepare()
            with pytest.raises(StateError), held(folder, "1.2.3", 1 << 20):
                pass
    except StateTooNew:
        pass
    remembered.read(folder)
    asyncio.run(_remembered(folder))


async def _remembered(folder: Path) -> None:
    found = await memory.Memory.load(folder)
    found.former("rules", dict[str, KeptRule])


READERS: list[Callable[[bytes], None]] = [cursor, head_mark, segment_file, letters, counts, small]


def state(data: bytes) -> None:
    """The first byte chooses the file, the second whether checksums are put right."""
    if len(data) < 2:
        return
    which, rest = data[0] % len(READERS), data[2:]
    if data[1] % 2:
        rest = _resealed_mark(_resealed_frames(rest))
    READERS[which](rest)


def _resealed_frames(data: bytes) -> bytes:
    """The same bytes, where every frame's two checksums are those of what it says."""
    out, at = bytearray(data), data.find(MAGIC)
    while at >= 0 and at + HEADER_BYTES <= len(out):
        sizes = struct.unpack_from("<IIIIII", out, at + 36)  # records, origin, packets, hashes, more, body
        size = sizes[1] + 4 * sizes[0] + sum(sizes[2:])
        start = at + HEADER_BYTES
        if start + size <= len(out):
            struct.pack_into("<I", out, at + 108, zlib.crc32(out[start : start + size]))
        struct.pack_into("<I", out, at + 112, zlib.crc32(out[at : at + 112]))
        at = data.find(MAGIC, at + 1)
    return bytes(out)


def _resealed_mark(data: bytes) -> bytes:
    """The same bytes, where every slot's length and checksum are those of the text up to its end or a zero."""
    out, at = bytearray(data), data.find(MARK_MAGIC)
    while at >= 0 and at + 28 <= len(out):
        end = out.find(b"\0", at + 28)
        end = len(out) if end < 0 else end
        struct.pack_into("<I", out, at + 12, end - at - 28)
        struct.pack_into("<I", out, at + 24, zlib.crc32(out[at + 28 : end], zlib.crc32(out[at : at + 24])))
        at = data.find(MARK_MAGIC, at + 1)
    return bytes(out)


@cache
def seeds() -> list[bytes]:
    """What a run leaves, file by file."""
    place = HERE / "seed"
    files: list[list[bytes]] = [
        [*(_marked(place, each) for each in _CURSORS), _marked(place, _CURSORS[0]).replace(b'"sink"', b'"sink ', 1)],
        [_marked(place, each, head.SLOT_BYTES) for each in _HEADS],
        [_segment(False), _segment(True)],
        [b"".join(_LINES), _LINES[0], b"".join(_LINES[1:4])],
        [_marked(place, each) for each in _COUNTS],
        [
            b"1 0.1.0\n",
            b"2 9.9\n",
            "\u00b2 x\n".encode(),
            b"9" * 5000,
            b"0123456789abcdef\n",
            b"812\n",
            b'{"plant":["a/#"]}',
            _EVENTS,
            b'{"\xf0lant":["a/#"]}',
            b"[" * 20_000,
            b'{"a":' * 5000,
        ],
    ]
    return [bytes([which, sealed]) + each for which, some in enumerate(files) for each in some for sealed in (0, 1)]


def _marked(path: Path, value: object, slot: int = SLOT_BYTES) -> bytes:
    path.unlink(missing_ok=True)
    mark = Mark(path, slot)
    assert isinstance(value, dict)
    for _ in range(2):  # the second time in the first slot
        mark.write(value, sync=False)
    mark.close()
    return path.read_bytes()[: 28 + len(orjson.dumps(value)) + 8]  # short, so that changes meet what matters


def _segment(claims: bool) -> bytes:
    data = segment.header(SEGMENT, 40, 1795000000000, "all")
    base = 40
    for group in range(1, 4):
        records = [b'{"n":%d}' % n for n in range(base, base + 3)]
        columns = (array("H", [1, 2, 0]), array("Q", [7, 8, 0])) if claims else (None, None)
        lengths = array("I", map(len, records))
        stamp = Stamp(1795000000000, 1795000000500, 1000, 1500, NO_BOOT)
        made = draft(Kind.RECORDS, stamp, b"plant", b",".join(records), lengths, *columns)
        data += made.header(SEGMENT, group, base) + made.columns + made.body
        base += 3
    return data


_LEDGER = {
    "delivered": 5,
    "expired": 0,
    "evicted": 0,
    "dead": 1,
    "damaged": 0,
    "abandoned": 0,
    "evicted_maybe_taken": 0,
    "renamed": 0,
}
_CURSORS = [
    {
        "sink": "lake",
        "names": ["old"],
        "lane": "all",
        "start": 40,
        "position": 46,
        "end": None,
        "retired_ms": None,
        "ledger": _LEDGER,
        "inherited_dead": 0,
        "absorbed": absorbed,
        "plans": [["a1b2c3d4e5f60718", 3, 99, 1], ["", 2, 0, 3], ["a1b2c3d4e5f60718", 1, 5, 2]],
    }
    for absorbed in (None, ["all", 3], [], "x")
]
_HEADS = [
    {
        "head": 46,
        "segment": "a1b2c3d4e5f60718",
        "group": 9,
        "wall_ms": 1795000000000,
        "claims_from": 0,
        "acked": {"plant": 3},
        "cursors": cursors,
    }
    for cursors in ({"lake": [40, 46]}, {"lake": 7}, {"lake": []})
]
_COUNTS = [
    {"first": 5, "next": 9, "at": 12, "dropped": {"lake": 3}, "replayed": {}},
    {"first": 5, "next": 9, "at": 12, "dropped": {"lake": "x"}, "replayed": {"lake": None}},
    {"first": None},
    {"first": 5, "next": 9, "at": 12, "dropped": 7},
]
_LINES = [
    b'{"seq":5,"at":7,"id":"a-1","sink":"lake","ts":1,"payload":"{}"}\n',
    b'{"xeq":6,"at":8,"id":"a-2","sink":"lake"}\n',
    b'{"deq":7,"at":9,"id":null,"sink":"intake"}\n',
    b'{"gone":[8,9],"at":11,"replayed":{"lake":1},"dropped":{"lake":1}}\n',
    b'{"gone":[10,12],"at":13,"replayed":{"lake":"x"},"dropped":{"lake":1.5}}\n',
    b'{"seq":true,"at":false}\n',
]
_EVENTS = (
    b'{"format":1,"sections":{"rules":{"hot":{"watches":"w","states":'
    b'[{"source":"host.cpu","tags":{},"began":1,"changed":2,"seen":3}]}}}}'
)
