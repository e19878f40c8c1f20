"""From the bytes of a request to its value, as the far side's body-parser reads them."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Mapping

from agent.sandbox.obsrv import javascript

_SPACE = " \t\n\r"


class BodyError(Exception):
    """The body cannot be read: a 500 before anything else is looked at."""


TOO_LARGE = "request entity too large"


def read(headers: Mapping[str, str], raw: bytes, limit: int) -> tuple[object, bytes]:
    """
    The request's value and its bytes after decompression.

    Only application/json is parsed and text/plain is text; any other type gives an empty object.
    """
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        return {}, b""
    kind, _, parameters = headers.get("Content-Type", "").partition(";")
    kind = kind.strip().lower()
    if kind not in ("application/json", "text/plain"):
        return {}, raw
    charset = _charset(parameters)
    if kind == "application/json" and not charset.startswith("utf-"):
        raise BodyError(f'unsupported charset "{charset.upper()}"')
    plain = inflate(raw, headers.get("Content-Encoding", "identity").lower(), limit)
    text = _decode(plain, charset)
    if kind == "text/plain":
        return text, plain
    return (_strict(text) if text else {}), plain


def inflate(raw: bytes, encoding: str, limit: int) -> bytes:
    """The decompressed body, never more than `limit` bytes of it."""
    match encoding:
        case "identity":
            plain = raw
        case "gzip":
            plain = _inflate(raw, 31, limit)
        case "deflate":
            plain = _inflate(raw, 15, limit)
        case _:
            raise BodyError(f'unsupported content encoding "{encoding}"')
    if len(plain) > limit:
        raise BodyError(TOO_LARGE)
    return plain


def _inflate(raw: bytes, window: int, limit: int) -> bytes:
    plain = bytearray()
    while raw:
        stream = zlib.decompressobj(window)
        try:
            plain += stream.decompress(raw, limit + 1 - len(plain))
        except zlib.error as error:
            # zlib's own words stand at the end: "Error -3 while decompressing data: incorrect header check".
            raise BodyError(str(error).rpartition(": ")[2]) from None
        if len(plain) > limit:
            break
        if not stream.eof:
            raise BodyError("unexpected end of file")
        raw = stream.unused_data
    return bytes(plain)


def _charset(parameters: str) -> str:
    for part in parameters.split(";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"


def _decode(plain: bytes, charset: str) -> str:
    marks = {"utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)}
    if charset in marks and not plain.startswith(marks[charset]):
        charset += "-le"
    try:
        return plain.decode(charset, "replace").removeprefix("\ufeff")
    except LookupError:
        raise BodyError(f'unsupported charset "{charset.upper()}"') from None


def _strict(text: str) -> object:
    """body-parser's strict mode: only an object or an array may be the whole body."""
    first = text.lstrip(_SPACE)[:1]
    try:
        if first in ("{", "["):
            return javascript.parse(text)
        if not first:
            raise javascript.JsonError("Unexpected end of JSON input")
        # It parses the text with everything from there on masked, and puts the text back into the message.
        at = text.index(first)
        masked = javascript.unexpected(text[:at] + "#" * (len(text) - at), at)
        raise javascript.JsonError(_unmask(masked, text[at:]))
    except javascript.JsonError as error:
        raise BodyError(str(error)) from None


def _unmask(message: str, hidden: str) -> str:
    parts: list[str] = []
    while "#" in message:
        start = message.index("#")
        length = len(message[start:]) - len(message[start:].lstrip("#"))
        parts += [message[:start], hidden[:length]]
        message = message[start + length :]
    return "".join(parts) + message
