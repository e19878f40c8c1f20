"""
A dataset against what a sink will send to it: what does not fit, and what that costs.

Nearly all of it is silent otherwise: Obsrv answers 200, and the pipeline behind it drops what it cannot use, or puts
it into the topic `failed` (wire facts: Obsrv, pipeline behind the 200).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from agent.http import worded
from agent.sinks.obsrv.expected import ARRIVAL, Event, Expected

# What `read` is to ask for.
FIELDS = (
    *("dataset_id", "name", "type", "status", "api_version", "entry_topic", "extraction_config", "dedup_config"),
    *("validation_config", "data_schema", "dataset_config"),
)
FEW = 5  # names in one line

Grade = Literal["ok", "doubt", "fault"]
Row = Mapping[str, Any]


class Finding(NamedTuple):
    """One setting of a dataset. A `fault` loses data or holds it up, a `doubt` may; `cost` says what and how."""

    setting: str
    grade: Grade
    there: str  # as the dataset has it
    wanted: str  # as the sink wants it
    cost: str = ""


def findings(row: Row, expected: Expected) -> Iterator[Finding]:
    """Every setting that matters to the sink, those that fit too."""
    yield _status(row)
    yield _topic(row)
    yield from _batches(_part(row, "extraction_config"), expected)
    yield _duplicates(row, expected)
    yield _time(row, expected)
    yield from _validation(row, expected)


def _status(row: Row) -> Finding:
    status = worded(row.get("status"))
    match status:
        case "Live":
            return Finding("status", "ok", status, "Live")
        case "Draft" | "ReadyToPublish":
            cost = "data-in answers 404 and the sink holds everything back: publish it"
        case _:
            cost = "data-in answers 200 and the pipeline drops every event: send to another dataset"
    return Finding("status", "fault", status, "Live", cost)


def _topic(row: Row) -> Finding:
    version = worded(row.get("api_version", "v2"))
    topic = row.get("entry_topic") if version == "v2" else _part(row, "dataset_config").get("entry_topic")
    if topic:
        return Finding("entry_topic", "ok", worded(topic), "any")
    return Finding("entry_topic", "fault", "none", "any", "data-in answers 404 and the sink holds everything back")


def _batches(extraction: Row, expected: Expected) -> Iterator[Finding]:
    name = "extraction_config.is_batch_event"
    there, wanted = bool(extraction.get("is_batch_event")), expected.is_array
    shown, asked = _yes(there), "true" if wanted else "any"
    if wanted and not there:
        cost = 'whole batches vanish after a 200 (EVENT_MISSING): set it, or form = "single" and id_key in the sink'
        yield Finding(name, "fault", shown, asked, cost)
        return
    yield Finding(name, "ok", shown, asked)
    if not wanted:
        return
    dedup = _part(extraction, "dedup_config")
    name, drops = "extraction_config.dedup_config", bool(dedup.get("drop_duplicates"))
    shown = f"{_yes(drops)}, {worded(dedup.get('dedup_key'))}"
    if drops:
        yield Finding(name, "ok", shown, "true, any key")
        return
    cost = "a batch that is sent again after a lost answer is stored twice, unless events have an id of their own"
    yield Finding(name, "doubt", shown, "true, any key", cost)


def _duplicates(row: Row, expected: Expected) -> Finding:
    dedup = _part(row, "dedup_config")
    drops, key, name = bool(dedup.get("drop_duplicates")), worded(dedup.get("dedup_key", "")), "dedup_config"
    shown = f"true, {key}" if drops else "false"
    wanted = f"true, {expected.id_key}" if expected.id_key else "false"
    if drops and key != expected.id_key:
        if all(_lacks(expected, event, key) for event in expected.events):
            return Finding(name, "doubt", shown, wanted, f"events have no {key}: a duplicate is never recognised")
        mend = "dedup_key has to be the sink's id_key" if expected.id_key else f'give the sink id_key = "{key}"'
        return Finding(name, "fault", shown, wanted, f"events that share a {key} are dropped but for the first: {mend}")
    if not drops and not expected.is_array:
        return Finding(name, "doubt", shown, wanted, "an event that is sent again after a lost answer is stored twice")
    if not drops and expected.id_key:
        cost = "only batches are recognised, for seven days: what is replayed in other batches is stored twice"
        return Finding(name, "doubt", shown, wanted, cost)
    return Finding(name, "ok", shown, wanted)


def _time(row: Row, expected: Expected) -> Finding:
    config, name = _part(row, "dataset_config"), "timestamp_key"
    # Rows of before v2 have it one level up.
    key = worded(_part(config, "keys_config").get(name) or config.get(name) or ARRIVAL)
    wanted = expected.time_key
    if key == ARRIVAL:
        if wanted == ARRIVAL:
            return Finding(name, "ok", key, wanted)
        cost = "events are dated when they arrive: what had waited in the spool stands at the wrong time"
        return Finding(name, "doubt", key, wanted, cost)
    lacking = [event for event in expected.events if not _is_time(_at(event.value, key))]
    if certain := [
        each.source for each in lacking if _at(each.value, key) is not _NOTHING or _lacks(expected, each, key)
    ]:
        what = f"events of {_few(list(dict.fromkeys(certain)))} have no time in {key} and go to the topic failed"
        return Finding(name, "fault", key, wanted, f"{what} (ERR_ROUTER_1019): let timestamp_key be {wanted}")
    if lacking:
        cost = f"events without {key} go to the topic failed (ERR_ROUTER_1019); {_unknown(expected)}"
        return Finding(name, "doubt", key, wanted, cost)
    if key != wanted:
        return Finding(name, "doubt", key, wanted, f"events are dated by {key}, not by the record's time in {wanted}")
    found = _schema_at(_part(row, "data_schema"), key).get("type")
    sent = _schema_at(expected.schema, key).get("type")
    if found is not None and sent is not None and not _is_kind(sent, found):
        cost = f"every event fails validation and goes to the topic failed: {key} is sent as {sent} (time_format)"
        return Finding(name, "fault", f"{key} ({worded(found)})", f"{wanted} ({sent})", cost)
    return Finding(name, "ok", key, wanted)


def _validation(row: Row, expected: Expected) -> Iterator[Finding]:
    config, name = _part(row, "validation_config"), "validation_config"
    if not config.get("validate", True):
        yield Finding(name, "ok", "false", "any")
        return
    mode = worded(config.get("mode") or "Strict")  # Obsrv's default
    schema = _part(row, "data_schema")
    misfits = list(dict.fromkeys(each for event in expected.events for each in _misfits(schema, event.value, "")))
    wrong = [f"{each.path} ({each.what})" for each in misfits if each.what != _NEW]
    new = [each.path for each in misfits if each.what == _NEW]
    if wrong:
        cost = f"events go to the topic failed: {_few(wrong)}"
        yield Finding("data_schema", "fault", "does not fit", "fits the events", cost)
    else:
        yield Finding("data_schema", "ok", "fits", "fits the events")
    if mode == "Strict" and (new or expected.unlisted):
        what = f"fields the schema does not have ({_few(new)})" if new else "a field the schema does not have"
        also = f"; {_unknown(expected)}" if expected.unlisted else ""
        cost = f"an event with {what} goes to the topic failed{also}: choose IgnoreNewFields"
        yield Finding(f"{name}.mode", "fault" if new else "doubt", mode, "IgnoreNewFields", cost)
        return
    yield Finding(f"{name}.mode", "ok", mode, "IgnoreNewFields")
    if new:
        cost = f"they pass, but only fields of the schema become columns to be queried: {_few(new)}"
        yield Finding("data_schema.properties", "doubt", f"lacks {len(new)}", "all fields", cost)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _lacks(expected: Expected, event: Event, key: str) -> bool:
    """Whether such an event has no such key, for certain."""
    if _at(event.value, key) is not _NOTHING:
        return False
    return event.is_whole or not key.startswith(expected.fields_at)


def _unknown(expected: Expected) -> str:
    return f"nobody knows the fields of {_few(expected.unlisted)} beforehand"


class _Misfit(NamedTuple):
    path: str
    what: str


_NEW = "unknown to the schema"
_NOTHING = object()
_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float), "null": (type(None),),
}  # fmt: skip


def _misfits(schema: Row, value: object, path: str) -> Iterator[_Misfit]:
    """Where a value does not meet a JSON schema."""
    kinds = schema.get("type")
    listed = [kinds] if isinstance(kinds, str) else list(kinds or ())
    if listed and not any(_is(kind, value) for kind in listed):
        yield _Misfit(path or "the event", f"expected {' or '.join(map(worded, listed))}, sent {_kind(value)}")
        return
    if not isinstance(value, dict):
        return
    properties = _part(schema, "properties")
    for name in schema.get("required") or ():
        if name not in value:
            yield _Misfit(_join(path, worded(name)), "required, and not sent")
    for name, item in value.items():
        if isinstance(each := properties.get(name), dict):
            yield from _misfits(each, item, _join(path, name))
        else:
            yield _Misfit(_join(path, name), _NEW)


def _is(kind: object, value: object) -> bool:
    types = _KINDS.get(worded(kind), ())
    return isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool))


def _is_kind(sent: str, there: object) -> bool:
    kinds = [there] if isinstance(there, str) else there
    return isinstance(kinds, list) and (sent in kinds or (sent == "integer" and "number" in kinds))


def _kind(value: object) -> str:
    return next(kind for kind in ("boolean", *_KINDS) if _is(kind, value))


def _part(row: Row, name: str) -> Row:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _at(event: object, path: str) -> object:
    for name in path.split("."):
        event = event.get(name, _NOTHING) if isinstance(event, Mapping) else _NOTHING
    return event


def _schema_at(schema: Row, path: str) -> Row:
    for name in path.split("."):
        schema = _part(_part(schema, "properties"), name)
    return schema


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _few(names: list[str]) -> str:
    rest = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {rest} more" if rest > 0 else "")


def _yes(value: bool) -> str:
    return "true" if value else "false"
