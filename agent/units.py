"""Durations and sizes as people write them, "1m30s" and "64MiB": text to number and back."""

from __future__ import annotations

import re

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_BINARY = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_DECIMAL = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3}
_BYTES = {name.lower(): size for name, size in {**_BINARY, **_DECIMAL, "B": 1}.items()}

LONGEST = 1 << 53  # milliseconds: of longer durations a float no longer knows each of them

_DURATION = re.compile(r"\s*(\d+)(?:\.(\d+))?\s*(ms|[smhdw])\s*")
_SIZE = re.compile(r"\s*(\d+)(?:\.(\d+))?\s*([A-Za-z]*)\s*")


def parse_duration(text: str) -> float:
    """Seconds of "250ms", "10s", "1m30s", "24h", "7d", "2w"; a bare "0" is nothing. Raises ValueError."""
    if text.strip() == "0":
        return 0.0
    # Whole numbers all the way, divided once: the result is the float nearest to what was written.
    total, parts, at = 0, 1, 0
    while match := _DURATION.match(text, at):
        whole, fraction, unit = match.groups(default="")
        scale = 10 ** len(fraction)
        total = total * scale + int(whole + fraction) * _MILLISECONDS[unit] * parts
        parts *= scale
        at = match.end()
    if at == 0 or at < len(text):
        raise ValueError(f"not a duration: {text!r}")
    if total > LONGEST * parts:
        raise ValueError(f"too long a duration: {text!r}")
    return total / (parts * 1000)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as the same number: 90 gives "1m30s"."""
    left = round(seconds * 1000)
    if left / 1000 != seconds:  # finer than milliseconds
        return f"{seconds:.25f}".rstrip("0").rstrip(".") + "s"
    if left == 0:
        return "0s"
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _MILLISECONDS[unit])
        if count:
            text += f"{count}{unit}"
    return text


def parse_size(text: str) -> int:
    """Bytes of "64MiB", "512KiB", "1GB", "1.5GiB", "4096". Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    whole, fraction, unit = match.groups(default="")
    size: int
    rest: int
    size, rest = divmod(int(whole + fraction) * _BYTES.get((unit or "B").lower(), 0), 10 ** len(fraction))
    if rest or (unit and unit.lower() not in _BYTES):
        raise ValueError(f"not a size: {text!r}")
    return size


def format_size(size: int) -> str:
    """The text with the largest unit that divides it: 65536 gives "64KiB", 1000000 gives "1MB"."""
    for units in (_BINARY, _DECIMAL):
        for unit, scale in units.items():
            if size and size % scale == 0:
                return f"{size // scale}{unit}"
    return f"{size}B"
