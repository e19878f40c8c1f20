"""The calls about triggers: their list, one of them, create and delete. There is none to change one."""

from __future__ import annotations

import re
from typing import Any

from agent.sandbox.ncloud.answers import Answer, value
from agent.sandbox.ncloud.flow import dates, deleting, paging, rules
from agent.sandbox.ncloud.flow.books import Trigger
from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.state import Call, State

_TYPES = {"2024": ("SCHEDULED", "NONE"), "2026": ("SCHEDULED", "EVENT", "NONE")}
_RULES = {"SCHEDULED": ("RECURRING", "ONE_TIME"), "EVENT": ("NONE",), "NONE": ("NONE",)}
_INTERVALS = ("HOUR", "DAY", "WEEK", "MONTH")
_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def listed(state: State, call: Call) -> Answer:
    """`getTriggers`: `name` is looked for anywhere in the name."""
    found = [item for item in state.flow.triggers.values() if call.query.get("name", "") in item.name]
    return paging.page(state, call, [_view(state, item) for item in found])


def one(state: State, call: Call) -> Answer:
    """`getTriggerById`."""
    return value(_view(state, state.flow.trigger(call.ids["triggerId"])))


def create(state: State, call: Call) -> Answer:
    """`createTrigger`."""
    fields = Fields(call.value)
    name, kind = rules.name(fields, state.settings), fields.choice("type", _TYPES[state.settings.api])
    rule = _rule(Fields(fields.table("triggerRule"), "triggerRule"), kind)
    made = Trigger(id=state.flow.fresh_id(), name=name, type=kind, rule=rule, created=call.now_ms)
    state.flow.triggers[made.id] = made
    return value(_view(state, made), status=201, stored=True)


def delete(state: State, call: Call) -> Answer:
    """`deleteTrigger`. The workflows that point to it stay, and say that it is gone."""
    del state.flow.triggers[state.flow.trigger(call.ids["triggerId"]).id]
    return deleting.done(state)


def _rule(fields: Fields, kind: str) -> dict[str, Any]:
    """A triggerRule: what it must have depends on its type, and on its interval."""
    rule: dict[str, Any] = {"type": fields.choice("type", _RULES[kind])}
    if rule["type"] == "ONE_TIME":
        return rule | {"executionDate": _date(fields)}
    if rule["type"] == "NONE":
        return rule
    interval = rule["interval"] = fields.choice("interval", _INTERVALS)
    form = r"[0-5]\d" if interval == "HOUR" else r"([01]\d|2[0-3]):[0-5]\d"
    rule["time"] = _matching(fields, "time", form, "00 to 59 for HOUR, or else a time like 10:00")
    if interval == "WEEK":
        days = rule["dayOfWeek"] = fields.array("dayOfWeek")
        if not days or not all(day in _DAYS for day in days):
            raise bad_parameter(f"{fields.place('dayOfWeek')}: must be some of {', '.join(_DAYS)}.")
    if interval == "MONTH":
        form = r"[1-9]|[12]\d|3[01]|-1"
        rule["dateOfMonth"] = _matching(fields, "dateOfMonth", form, "1 to 31, or -1 for the last day")
    return rule


def _matching(fields: Fields, name: str, form: str, said: str) -> str:
    found = fields.text(name)
    if not re.fullmatch(form, found):
        raise bad_parameter(f"{fields.place(name)}: must be {said}.")
    return found


def _date(fields: Fields) -> str:
    """The executionDate; its form is not published, so: that of all other dates."""
    found = fields.text("executionDate")
    try:
        dates.read(found)
    except ValueError:
        raise bad_parameter(f"{fields.place('executionDate')}: must be an ISO 8601 date and time.") from None
    return found


def _view(state: State, trigger: Trigger) -> dict[str, Any]:
    said = dates.said(trigger.created, state.settings)
    view = {"triggerId": trigger.id, "name": trigger.name, "type": trigger.type, "triggerRule": trigger.rule}
    return view | {"createdDate": said, "updatedDate": said}
