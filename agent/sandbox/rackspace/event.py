"""
From the text of a body to an event, as Blueflood's Jackson 1.x and its validator read it.

Sources: Blueflood 6557fd4f, HttpEventsIngestionHandler, types/Event, constraints/EpochRange. Jackson's messages are
given without the place in the text that they end with.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from agent.sandbox.rackspace.answers import Problem

_SPACE = " \t\r\n"
_CLASS = "com.rackspacecloud.blueflood.types.Event"
_LONG = 2**63
_INTEGER = re.compile(r"[+-]?[0-9]+")


class BodyError(Exception):
    """The body is no event: a status and what is said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class _Number(str):
    """A number's text: where a string is wanted, it is taken as it stands."""

    __slots__ = ()


class _Object(list[tuple[str, object]]):
    """An object's pairs, doubled keys included."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How far from the server's clock `when` may be, in milliseconds, both bounds included."""

    past: int = 259_200_000  # BEFORE_CURRENT_COLLECTIONTIME_MS
    future: int = 600_000  # AFTER_CURRENT_COLLECTIONTIME_MS


@dataclass(slots=True, kw_only=True)
class Event:
    """What was sent; None is a JSON null."""

    what: str | None = ""
    when: int = 0
    tags: str | None = ""
    data: str | None = ""


def parse(text: str) -> Event:
    """The one event of a body, its values made to fit; raises BodyError."""
    stripped = text.lstrip(_SPACE)
    if not stripped:
        raise BodyError(500, "Error: No content to map to Object due to end of input")
    try:
        value, end = _DECODER.raw_decode(stripped)
    except RecursionError:
        raise _invalid("Can not deserialize instance out of START_ARRAY token") from None
    except ValueError as error:
        raise _invalid(f"Unexpected character or end of input: {error}") from None
    event = _event(value)
    _alone(stripped[end:].lstrip(_SPACE))
    if event is None:
        raise BodyError(500, "Error: HV000116: The object to be validated must not be null.")
    return event


def violations(event: Event, tenant: str, now_ms: int, window: Window) -> list[Problem]:
    """One problem for each field that breaks a rule."""
    found: list[Problem] = []
    if not event.what:
        found.append(Problem(tenant=tenant, message="may not be empty", source="what", timestamp=event.when))
    if not now_ms - window.past <= event.when <= now_ms + window.future:
        message = (
            f"Out of bounds. Cannot be more than {window.past} milliseconds into the past. "
            f"Cannot be more than {window.future} milliseconds into the future"
        )
        found.append(Problem(tenant=tenant, message=message, source="when", timestamp=event.when))
    return found


def _event(value: object) -> Event | None:
    if value is None:
        return None
    if not isinstance(value, _Object):
        raise _invalid(f"Can not deserialize instance of {_CLASS} out of {_token(value)} token")
    event = Event()
    for key, item in value:
        match key:
            case "what" | "tags" | "data":
                setattr(event, key, _text(item))
            case "when":
                event.when = _long(item)
            case _:
                raise _invalid(f'Unrecognized field "{key}" (Class {_CLASS}), not marked as ignorable')
    return event


def _alone(rest: str) -> None:
    """Jackson reads one value and leaves the rest; the handler then asks whether another one begins there."""
    if not rest:
        return
    if rest[0] not in '{["':
        try:
            _DECODER.raw_decode(rest)
        except ValueError:
            raise BodyError(500, f"Error: Unexpected character ('{rest[0]}' (code {ord(rest[0])}))") from None
    raise _invalid("Only one event is allowed per request")


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return str(value)
        case _:
            raise _invalid(f"Can not deserialize instance of java.lang.String out of {_token(value)} token")


def _long(value: object) -> int:
    match value:
        case None:
            return 0
        case _Number():
            return _in_range(float(value)) if set(value) & set(".eE") else _in_range(_integer(value))
        case str():
            text = value.strip()
            if not text:
                return 0
            if not _INTEGER.fullmatch(text) or not -_LONG <= _integer(text) < _LONG:
                raise _invalid(
                    f"Can not construct instance of long from String value '{value}': not a valid long value"
                )
            return int(text)
        case _:
            raise _invalid(f"Can not deserialize instance of long out of {_token(value)} token")


def _integer(text: str) -> int:
    return int(text) if len(text) <= 30 else _LONG  # int() refuses thousands of digits; so many are out of range


def _in_range(value: float) -> int:
    if not -_LONG <= value < _LONG:
        raise _invalid(f"Numeric value ({value}) out of range of long (-9223372036854775808 - 9223372036854775807)")
    return int(value)


def _token(value: object) -> str:
    match value:
        case _Object():
            return "START_OBJECT"
        case list():
            return "START_ARRAY"
        case bool():
            return "VALUE_TRUE" if value else "VALUE_FALSE"
        case _Number():
            return "VALUE_NUMBER_FLOAT" if set(value) & set(".eE") else "VALUE_NUMBER_INT"
        case _:
            return "VALUE_STRING"


def _invalid(message: str) -> BodyError:
    return BodyError(400, f"Invalid Data: {message}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Unrecognized token '{name}'")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
)
