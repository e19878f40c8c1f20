"""
Texts with places for values: `{host}: disk {tags.path} at {value} %`.

Filled in one pass: what a value holds is never looked at again, so that a payload cannot reach into a text.
There are no format specifications and no attributes, on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_@][^{}\s]*")
_TOKENS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """A text and its places: `pieces` alternates what stands there and the name of a place, beginning with text."""

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a text; `{{` and `}}` stand for the braces themselves. Raises ValueError with the reason."""
        pieces, literal, at = [], "", 0
        for token in _TOKENS.finditer(text):
            literal += text[at : token.start()]
            at = token.end()
            if token[0] in ("{{", "}}"):
                literal += token[0][0]
            elif token[1] is None:
                raise ValueError(f"a single {token[0]} at character {token.start() + 1}: a brace is written twice")
            elif not _NAME.fullmatch(token[1]):
                raise ValueError(f"{token[0]} is no name such as {{value}} or {{tags.host}}")
            else:
                pieces += [literal, token[1]]
                literal = ""
        return cls((*pieces, literal + text[at:]))

    @property
    def names(self) -> frozenset[str]:
        """The names of its places."""
        return frozenset(self.pieces[1::2])

    def render(self, values: Mapping[str, str]) -> str:
        """The text with each place filled; one without a value stays empty."""
        return "".join(values.get(piece, "") if n % 2 else piece for n, piece in enumerate(self.pieces))
