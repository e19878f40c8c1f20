"""
Charts as PNG of 800 x 600: a line through some points, a grid, and the numbers of its axes.

Drawn byte by byte, so that a stand-in needs no library for it. Format: "Portable Network Graphics (PNG)
Specification", W3C; times are UTC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

WIDTH, HEIGHT = 800, 600  # as GetDashboardWidgetImage has it
SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LEFT, _RIGHT, _TOP, _BOTTOM = 130, 780, 30, 540  # the plot within the picture
_STEPS = 5  # of the grid
_PAPER, _GRID, _INK, _LINE = range(4)
_COLOURS = bytes.fromhex("ffffff dddddd 444444 1f6fd0")
# Rows of three dots from the top, as octal digits.
_ROWS = "75557 26227 71747 71717 55711 74717 74757 71111 75757 75717 00002 00700 02020 02720 35743"
_GLYPHS = dict(zip("0123456789.-:+e", _ROWS.split(), strict=True))
_DOT = 3  # pixels a dot of a glyph


def chart(points: Sequence[tuple[int, float]], start_ms: int, end_ms: int, *, compressed: bool = True) -> bytes:
    """A PNG of the points (ms, value) between two times; not `compressed`: the same picture in half a megabyte."""
    pixels = bytearray(WIDTH * HEIGHT)
    values = [value for _, value in points]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        low, high = low - 1, high + 1
    for step in range(_STEPS + 1):
        y = _BOTTOM - (_BOTTOM - _TOP) * step // _STEPS
        x = _LEFT + (_RIGHT - _LEFT) * step // _STEPS
        ink = _INK if step == 0 else _GRID
        _line(pixels, _LEFT, y, _RIGHT, y, ink, 1)
        _line(pixels, x, _TOP, x, _BOTTOM, ink, 1)
        label = f"{low + (high - low) * step / _STEPS:.3g}"
        _text(pixels, _LEFT - 10 - _wide(label), y - 7, label)
        moment = datetime.fromtimestamp((start_ms + (end_ms - start_ms) * step / _STEPS) / 1000, UTC)
        _text(pixels, min(x - 28, WIDTH - 62), _BOTTOM + 15, f"{moment:%H:%M}")
    places = [
        (
            _LEFT + round((_RIGHT - _LEFT) * (at - start_ms) / (end_ms - start_ms)),
            _BOTTOM - round((_BOTTOM - _TOP) * (value - low) / (high - low)),
        )
        for at, value in points
    ]
    for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):  # a single point is a dot
        _line(pixels, x0, y0, x1, y1, _LINE, 3)
    return _png(pixels, 6 if compressed else 0)


def _png(pixels: bytearray, level: int) -> bytes:
    rows = b"".join(b"\0" + pixels[at : at + WIDTH] for at in range(0, len(pixels), WIDTH))  # 0: no filter
    head = struct.pack(">2I5B", WIDTH, HEIGHT, 8, 3, 0, 0, 0)  # 8 bits a pixel, by a palette, not interlaced
    chunks = ((b"IHDR", head), (b"PLTE", _COLOURS), (b"IDAT", zlib.compress(rows, level)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _line(pixels: bytearray, x0: int, y0: int, x1: int, y1: int, colour: int, thick: int) -> None:
    length = max(abs(x1 - x0), abs(y1 - y0), 1)
    for step in range(length + 1):
        x, y = x0 + (x1 - x0) * step // length, y0 + (y1 - y0) * step // length
        for row in range(y - thick // 2, y + thick // 2 + 1):
            at = row * WIDTH + x - thick // 2
            pixels[at : at + thick] = bytes([colour]) * thick


def _wide(text: str) -> int:
    return 4 * _DOT * len(text)


def _text(pixels: bytearray, left: int, top: int, text: str) -> None:
    for place, char in enumerate(text):
        for row, dots in enumerate(_GLYPHS[char]):
            for column in range(3):
                if int(dots) & (4 >> column):
                    x, y = left + (4 * place + column) * _DOT, top + row * _DOT
                    for line in range(y, y + _DOT):
                        pixels[line * WIDTH + x : line * WIDTH + x + _DOT] = bytes([_INK]) * _DOT
