"""
How a value gets through a server that does not escape it.

Blueflood since January 2018 builds the document for Elasticsearch by string formatting (commit 0f74dbe3): a quotation
mark in a value breaks the document, and a crafted one writes into it, the tenant included. Earlier builds serialise
properly. What a value may hold on its way therefore depends on the server.
"""

from __future__ import annotations

import json
import re
from typing import Literal

Mode = Literal["json", "replace", "none"]

# Elasticsearch takes no longer term, and what, data and tags are one term each (Blueflood's event mapping). It
# counts the bytes of the value as it is stored, so before any escaping.
MAX_VALUE = 32_766
ELLIPSIS = "…"

_UNSAFE = re.compile(r'["\\\x00-\x1f]')
_REPLACED = {**dict.fromkeys(range(0x20), " "), ord('"'): "'", ord("\\"): "/"}
# The first quotation mark that ends the string, followed by what may follow a string within an object.
_REACHES_OUT = re.compile(r'(?:[^"\\]|\\.)*+"\s*+[,}]', re.DOTALL)


def needs_escaping(value: str) -> bool:
    """Whether it matters for this value how the server writes it down."""
    return _UNSAFE.search(value) is not None


def written(value: str, mode: Mode) -> str:
    """
    The value as it goes into the request.

    `json`: escaped once more, which a server that formats takes off again; `replace`: without what needs
    escaping, safe anywhere; `none`: as it is, for servers that serialise.
    """
    match mode:
        case "json":
            return json.dumps(value, ensure_ascii=False)[1:-1]
        case "replace":
            return value.translate(_REPLACED)
        case "none":
            return value


def reaches_out(value: str) -> bool:
    """
    Whether a server that formats would take a part of this value, sent as it is, for its own document.

    The first bare quotation mark ends the string there. Unless a comma or the end of the object follows, the document
    is broken and refused as a whole; only where one does can what comes after it, the tenant for one, count.
    """
    return _REACHES_OUT.match(value) is not None


def tidy(text: str) -> str:
    """The text in characters that UTF-8 has: a lone half of a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cut(text: str) -> str:
    """The text with at most MAX_VALUE bytes of UTF-8, whole characters, and a mark where something is missing."""
    data = text.encode()
    if len(data) <= MAX_VALUE:
        return text
    return data[: MAX_VALUE - len(ELLIPSIS.encode())].decode(errors="ignore") + ELLIPSIS
