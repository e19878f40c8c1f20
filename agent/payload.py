"""
Is a payload JSON that every parser downstream takes? Checked without building it.

One bad record inside a spliced batch would spoil the whole batch, so nothing unchecked is spliced.
msgspec's `Raw` decoder checks the grammar at 0.11 µs a record, but lets invalid UTF-8 and 1e400 pass
and recurses without bound; a guard over the whole group finds out whether any payload needs a closer look.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Sequence
from operator import itemgetter

import msgspec

from agent.errors import BadPayload
from agent.record import MAX_DEPTH

# Each object of an array becomes a record with tags of its own, some hundred bytes for every "{}": a few kB of
# payload must not become memory without bound.
MAX_OBJECTS = 10_000

_check = msgspec.json.Decoder(msgspec.Raw).decode

# A string that never ends is taken to the end of the text, and what it has taken is not looked at again: else a payload
# of escaped quotation marks would be gone through once for each of them.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?', re.DOTALL)


def _guard_table() -> bytes:
    """Digits and the plus sign to 0, E to e, all else to a blank."""
    table = bytearray(b" " * 256)
    for byte in b"0123456789+":
        table[byte] = ord("0")
    for byte in b"eE":
        table[byte] = ord("e")
    return bytes(table)


_GUARD = _guard_table()
# The largest double has 309 digits and its exponent three: shorter runs cannot overflow.
_LONG_NUMBER = b"0" * 309
_LONG_EXPONENT = b"0e000"
_EXPONENT = re.compile(rb"\d[eE]\+?\d{3}")
_first_byte = itemgetter(0)

# So many payloads, and bytes of them, are looked at together: enough that a group costs little, few enough to
# stay in the processor's cache and under the size from which malloc asks the kernel for fresh pages (128 KiB).
_GROUP, _GROUP_BYTES = 250, 120 * 1024


def all_plain_objects(payloads: Sequence[bytes]) -> bool:
    """
    Whether every payload is a JSON object that can be spliced in as it stands.

    False says only that some payload needs a closer look by `closely`.
    """
    return bool(payloads) and _all_in_groups(payloads, _GROUP)


def _all_in_groups(payloads: Sequence[bytes], size: int) -> bool:
    if len(payloads) <= size:
        return _are_plain_objects(payloads)
    return all(_are_plain_objects(payloads[at : at + size]) for at in range(0, len(payloads), size))


def _are_plain_objects(payloads: Sequence[bytes]) -> bool:
    blob = b"".join(payloads)
    if len(blob) > _GROUP_BYTES and len(payloads) > 1:
        return _all_in_groups(payloads, max(1, len(payloads) * _GROUP_BYTES // len(blob)))
    if b"\n" in blob or b"\r" in blob:
        return False
    if not blob.isascii():
        try:
            blob.decode()
        except UnicodeDecodeError:
            return False
    # Every payload opens at least one bracket, so none of them can hold more than the surplus. What is left without
    # them is counted, because CPython's `count` of a single byte takes five times as long.
    opened = len(blob) - len(blob.replace(b"{", b"").replace(b"[", b""))
    if opened - (len(payloads) - 1) > MAX_DEPTH and not all(map(_is_shallow, payloads)):
        return False
    shape = blob.translate(_GUARD)
    if _LONG_NUMBER in shape:
        return False
    # From the right, because CPython's search from the left takes twice as long for a needle like this.
    if shape.rfind(_LONG_EXPONENT) >= 0 and not all(map(_is_finite, payloads)):
        return False
    try:
        if bytes(map(_first_byte, payloads)).strip(b"{"):
            return False
        deque(map(_check, payloads), maxlen=0)
    except (IndexError, msgspec.DecodeError, RecursionError):  # the first is an empty payload
        return False
    return True


def closely(payload: bytes) -> list[bytes]:
    """
    The JSON objects that a payload holds, ready to be spliced in.

    An object is one, an array of objects one each, a scalar becomes `{"value": ...}`. Line breaks are
    taken out, numbers stay as they were written. Raises BadPayload.
    """
    if not payload or payload.isspace():
        raise BadPayload("an empty payload is not JSON")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise BadPayload(f"not UTF-8 at byte {error.start}") from None
    _walk(payload)
    try:
        # Of bytes it would guess the encoding: UTF-16 and a byte order mark pass, and no reader of ours takes either.
        json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_finite)
    except (ValueError, RecursionError) as error:
        raise BadPayload(f"not JSON: {error}") from None
    compact = _compact(payload)
    if compact[:1] == b"{":
        return [compact]
    if compact[:1] != b"[":
        return [b'{"value":%b}' % compact]
    objects = _split(compact)
    if len(objects) > MAX_OBJECTS:
        raise BadPayload(f"an array of {len(objects)} objects; {MAX_OBJECTS} is the most")
    if any(item[:1] != b"{" for item in objects):
        raise BadPayload("an array whose elements are not all objects")
    return objects


def _is_shallow(payload: bytes) -> bool:
    return payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH


def _is_finite(payload: bytes) -> bool:
    """Whether no number overflows a double; hexadecimal text such as 0e123 inside a string is none."""
    if not _EXPONENT.search(payload):
        return True
    numbers = (token for token in _TOKEN.findall(payload) if token[:1] in b"-0123456789")
    return not any(math.isinf(float(number)) for number in numbers)


def _walk(payload: bytes) -> None:
    """Raise BadPayload where brackets nest too deep; done before any parser that recurses."""
    if _is_shallow(payload):
        return
    depth = 0
    for match in _TOKEN.finditer(payload):
        first = payload[match.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadPayload(f"nested deeper than {MAX_DEPTH}")
        elif first in b"]}":
            depth -= 1


def _compact(payload: bytes) -> bytes:
    """Without white space between the tokens; the tokens themselves stay as they were written."""
    out = []
    end = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"', payload, re.DOTALL):
        out.append(b"".join(payload[end : match.start()].split()))
        out.append(match.group())
        end = match.end()
    out.append(b"".join(payload[end:].split()))
    return b"".join(out)


def _split(array: bytes) -> list[bytes]:
    """The elements of a compact, valid JSON array."""
    parts, depth, start = [], 0, 1
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', array, re.DOTALL):
        token = array[match.start()]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
            if depth == 0 and match.start() > start:
                parts.append(array[start : match.start()])
        elif token == ord(",") and depth == 1:
            parts.append(array[start : match.start()])
            start = match.end()
    return parts


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> None:
    # json's own int() refuses more than 4,300 digits; the only question here is whether a double overflows.
    if math.isinf(float(digits)):
        raise ValueError("a number beyond the range of a double")
