"""What disks, memory and people do to files: each harm says in a few words what it did."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

Harm = Callable[[Path, Random], str]


def flip(path: Path, rng: Random) -> str:
    """One bit."""
    return _changed(path, rng, 1 << rng.randrange(8), "bit")


def spoil(path: Path, rng: Random) -> str:
    """One byte becomes another."""
    return _changed(path, rng, rng.randrange(1, 256), "byte")


def _changed(path: Path, rng: Random, by: int, what: str) -> str:
    data = bytearray(path.read_bytes())
    if not data:
        return f"no {what} to flip"
    # Small files are zeros mostly: half of the time it is something else that is hit.
    written = [at for at, byte in enumerate(data) if byte] if rng.random() < 0.5 else []
    at = rng.choice(written or range(len(data)))
    data[at] ^= by
    path.write_bytes(data)
    return f"{what} at {at} flipped"


def cut(path: Path, rng: Random) -> str:
    """The end is missing."""
    data = path.read_bytes()
    at = rng.randint(0, len(data))
    path.write_bytes(data[:at])
    return f"cut at {at} of {len(data)}"


def empty(path: Path, rng: Random) -> str:
    """All is missing but the name."""
    del rng
    path.write_bytes(b"")
    return "emptied"


def delete(path: Path, rng: Random) -> str:
    """The name is missing, too."""
    del rng
    path.unlink()
    return "deleted"


def zero(path: Path, rng: Random) -> str:
    """A stretch of blocks reads as zeros."""
    return _over(path, rng, bytes)


def scramble(path: Path, rng: Random) -> str:
    """A stretch of blocks holds something else."""
    return _over(path, rng, rng.randbytes)


def _over(path: Path, rng: Random, content: Callable[[int], bytes]) -> str:
    data = bytearray(path.read_bytes())
    start = rng.randint(0, len(data)) // 512 * 512
    end = min(len(data), start + 512 * rng.randint(1, 8))
    data[start:end] = content(end - start)
    path.write_bytes(data)
    return f"{start} to {end} overwritten"


def lengthen(path: Path, rng: Random) -> str:
    """More follows than was written."""
    with path.open("ab") as file:
        file.write(rng.choice((bytes, rng.randbytes))(rng.randint(1, 2000)))
    return "lengthened"


def repeat(path: Path, rng: Random) -> str:
    """A part of it stands there once more, in its middle."""
    data = path.read_bytes()
    start, end, at = sorted(rng.randint(0, len(data)) for _ in range(3))
    path.write_bytes(data[:at] + data[start:end] + data[at:])
    return f"{start} to {end} once more at {at}"


ALONE: tuple[Harm, ...] = (flip, spoil, cut, empty, delete, zero, scramble, lengthen, repeat)


def copy_over(path: Path, others: Sequence[Path], rng: Random) -> str:
    """Another file stands under this name."""
    other = rng.choice(others)
    data = other.read_bytes()
    path.write_bytes(data)
    return f"{other.name} copied over it"


def swap(path: Path, others: Sequence[Path], rng: Random) -> str:
    """Two files have each other's names."""
    other = rng.choice(others)
    mine, its = path.read_bytes(), other.read_bytes()
    path.write_bytes(its)
    other.write_bytes(mine)
    return f"swapped with {other.name}"


def copy_beside(path: Path, others: Sequence[Path], rng: Random) -> str:
    """It stands in another directory as well, or under another name beside itself."""
    target = rng.choice(others).parent / path.name
    if target == path:
        target = path.with_name(rng.choice((f"{path.name}~", f"{path.stem} (copy){path.suffix}")))
    if target.exists():
        return "a file of that name stands there already"
    shutil.copy(path, target)
    return f"copied to {target.parent.name}/{target.name}"


AMONG = (copy_over, swap, copy_beside)
