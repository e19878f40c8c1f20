"""
From TOML tables to frozen dataclasses: how an option is declared, and how a table is read against it.

A plugin declares its options as dataclass fields made with `option`; the same declaration gives the
default, the check, the line in agent.toml.example and the row in docs/configuration.md.

Options are annotated with str, bool, int, float, Duration, Size, Secret, Path, Literal, list[T],
tuple[T, ...], OneOrMore, dict[str, T], T | None, and dataclasses of options. A dataclass of options may
have two methods that look at several options at once, `problems` and `warnings`, both giving a list of
(option, text): ("time.tz", "needed, as the format has no zone").
"""

from __future__ import annotations

import json
import re
import types
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, quote_plus

from agent.units import format_duration, format_size

# Annotations that say how a TOML value is written and read. The Python value is the plain type.
Duration = Annotated[float, "duration"]  # seconds; written "10s", "1m30s", "24h", "7d", "250ms"
Size = Annotated[int, "size"]  # bytes; written "64MiB", "512KiB", "1GB", or a plain number
OneOrMore = Annotated[tuple[str, ...], "one or more"]  # written "a" or ["a", "b"]


class Secret:
    """
    A value that is printed nowhere: `repr`, `str` and format show `***`; `reveal()` gives the text.

    Made of the text itself, of a file (`NAME_file = "..."` in TOML) or of a systemd credential
    ("credential:NAME"). A secret out of a file is read again by `reveal(fresh=True)`.
    """

    __slots__ = ("_path", "_text")

    def __init__(self, text: str = "", *, path: str | None = None) -> None:
        self._text = text
        self._path = path

    def reveal(self, *, fresh: bool = False) -> str:
        """The text; with `fresh`, as the file holds it now. Raises OSError where it cannot be read."""
        if self._path is not None and (fresh or not self._text):
            with open(self._path, encoding="utf-8") as file:
                self._text = file.read().strip()
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text) or self._path is not None

    # Plugins are compared at a reload: what did not change keeps its connection.
    def __eq__(self, other: object) -> bool:
        # What a file holds is no difference: it is read again where it matters (`reveal(fresh=True)`).
        if not isinstance(other, Secret) or self._path != other._path:
            return False
        return self._path is not None or self._text == other._text

    def __hash__(self) -> int:
        return hash(self._path or self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"


def option(doc: str, default: Any = MISSING, *, factory: Any = MISSING, **meta: Any) -> Any:
    """
    Declare an option: one line of meaning, and the default as a Python value (none: required).

    `meta` may hold `example` (a TOML value to show where there is no default), `low`/`high` (bounds),
    `default_text` (what a default of None comes to, in words), `renamed_from` (a former key, still read
    for two minor versions), `must_exist` (a path: of a file that can be read by now), `not_shared` (a path
    of a sink: no two sinks of the kind may have the same), `in_example` (not commented out in agent.toml.example),
    `key` (its name in TOML, where Python has that word for itself), `words` (what it asks for, "a string", where the
    annotation is wider so that a mistake can be named).
    """
    metadata = {"doc": doc, **meta}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(cls: type) -> Iterator[tuple[Field[Any], Any]]:
    """The options that a dataclass declares, each with its annotation."""
    hints = get_type_hints(cls, include_extras=True)
    for each in fields(cls):
        if "doc" in each.metadata:
            yield each, hints[each.name]


def key_of(each: Field[Any]) -> str:
    """The name of an option in TOML."""
    return str(each.metadata.get("key", each.name))


def kind_of(hint: Any) -> tuple[str, Any]:
    """Sort an annotation: "duration", "list", "table", ... and what it is a list, dict or choice of."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return str(hint.__metadata__[0]), arguments[0]
    if origin in (Union, types.UnionType):
        some = tuple(each for each in arguments if each is not types.NoneType)
        return ("optional", some[0]) if len(some) == 1 else ("any of", some)
    if origin is Literal:
        return "choice", arguments
    if origin in (list, tuple, Sequence):
        return "list", (list if origin is list else tuple, arguments[0])
    if origin in (dict, Mapping):
        return "dict", arguments[1]
    if is_dataclass(hint):
        return "table", hint
    return "plain", hint


_PLAIN = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


def expected(hint: Any) -> str:
    """What an annotation asks for, in words: `a duration such as "10s"`."""
    match kind_of(hint):
        case "duration", _:
            return 'a duration such as "10s"'
        case "size", _:
            return 'a size such as "64MiB"'
        case "one or more", _:
            return "a string or a list of strings"
        case "optional", inner:
            return expected(inner)
        case "any of", inner:
            return " or ".join(expected(each) for each in inner)
        case "choice", values:
            return "one of " + ", ".join(json.dumps(value) for value in values)
        case "list", (_, inner):
            return "a list of strings" if inner is str else f"a list ({expected(inner)} each)"
        case (("dict" | "table"), _):
            return "a table"
        case _, cls:
            return _PLAIN.get(cls, "a string")


def is_secret(hint: Any) -> bool:
    """Whether an option holds a secret, so that it takes NAME_file and is shown nowhere."""
    kind, inner = kind_of(hint)
    return inner is Secret or (kind == "optional" and is_secret(inner))


def without_credentials(text: str) -> str:
    """The text with what stands before the last @ of a URL taken out: a password may hold one, and a slash too."""
    return re.sub(r"//[^/\s]*@", "//***@", re.sub(r"://\S*@", "://***@", text))


SHORTEST_SECRET = 4  # below that, hiding a secret would garble every text


@lru_cache(maxsize=64)
def spellings(word: str) -> tuple[str, ...]:
    """
    A secret as whoever repeats it may write it, the longest first.

    As it is; escaped by repr, JSON (once, twice, slashes too), a URL or HTML; in base64.
    """
    escaped = {
        repr(word)[1:-1],
        repr(f"'\"{word}")[4:-1],  # within a text that has both quotes, repr escapes the single ones
        repr(word.encode("utf-8", "surrogatepass"))[2:-1],
        json.dumps(word)[1:-1],
        json.dumps(word, ensure_ascii=False)[1:-1],
    }
    escaped |= {each.replace("/", "\\/") for each in (word, *escaped)}
    forms = {word, *escaped, *(json.dumps(each)[1:-1] for each in escaped)}
    forms |= {each.replace("/", "\\/") for each in forms}
    as_bytes = [each.encode("utf-8", "surrogatepass") for each in (word, *escaped)]
    forms |= {way(each) for each in as_bytes for way in (partial(quote, safe=""), quote, quote_plus)}
    for each in (word, *escaped):
        markup = each.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        forms |= {markup, markup.replace("'", "&#39;"), markup.replace("'", "&#x27;")}
    forms.add(b64encode(as_bytes[0]).decode().rstrip("="))
    return tuple(sorted(forms, key=len, reverse=True))


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` wherever one of the secrets stands, however it is written."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            for form in spellings(secret):
                text = text.replace(form, "***")
    return text


def written(value: Any, hint: Any = None) -> Any:
    """A value as it would stand in TOML, secrets as `***`; the annotation tells a duration from a number."""
    kind, inner = kind_of(hint) if hint is not None else ("plain", None)
    match value:
        case _ if is_dataclass(value) and not isinstance(value, type):
            return plain(value)
        case Secret():
            return "***" if value else ""
        case Path() | str():
            return without_credentials(str(value))
        case dict():
            return {key: written(item, inner if kind == "dict" else None) for key, item in value.items()}
        case list() | tuple():
            return [written(item, inner[1] if kind == "list" and inner else None) for item in value]
        case int() | float() if kind == "optional":
            return written(value, inner)
        case int() | float() if kind == "duration":
            return format_duration(value)
        case int() if kind == "size":
            return format_size(value)
        case _:
            return value


def plain(instance: Any) -> dict[str, Any]:
    """The options of a dataclass as they would stand in TOML, what is None left out, secrets as `***`."""
    values = ((key_of(each), getattr(instance, each.name), hint) for each, hint in options_of(type(instance)))
    return {name: written(value, hint) for name, value, hint in values if value is not None}
