"""The two schemas the far side checks: a request's envelope at the door, and a dataset's data_schema behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REQUIRED = ("id", "ver", "ts", "params", "data")


def first_error(body: object) -> str | None:
    """What ajv says first about a data-in request, or None where it is in order."""
    if not isinstance(body, dict):
        return "#type must be object"
    for key in REQUIRED:
        if key not in body:
            return f"#required must have required property '{key}'"
    for key in ("id", "ver", "ts"):
        if not isinstance(body[key], str):
            return f"#properties/{key}/type must be string"
        if key == "id" and body[key] != "api.data.in":
            return "#properties/id/enum must be equal to one of the allowed values"
    return _params(body["params"]) or _data(body["data"]) or _misplaced(body)


def _params(params: object) -> str | None:
    if not isinstance(params, dict):
        return "#properties/params/type must be object"
    if "msgid" not in params:
        return "#properties/params/required must have required property 'msgid'"
    if len(params) > 1:
        return "#properties/params/additionalProperties must NOT have additional properties"
    if not isinstance(params["msgid"], str):
        return "#properties/params/properties/msgid/type must be string"
    return None


def _data(data: object) -> str | None:
    if isinstance(data, dict) or (isinstance(data, list) and all(isinstance(item, dict) for item in data)):
        return None
    return "#properties/data/oneOf/0/type must be object"


def _misplaced(body: Mapping[str, Any]) -> str | None:
    # `additionalProperties: false` stands inside `properties` there: it forbids a key of that name alone.
    if "additionalProperties" in body:
        return "#properties/additionalProperties/false schema boolean schema is false"
    return None


def violation(schema: Mapping[str, Any], value: object, *, strict: bool, at: str = "#") -> str | None:
    """Why an event fails its dataset's schema, or None. `strict`: fields the schema does not name are refused."""
    kinds = schema.get("type")
    if kinds is not None and not any(_is(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return f"{at}: expected type {kinds}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}: instance value not found in enum"
    if isinstance(value, dict):
        return _object(schema, value, strict=strict, at=at)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, item in enumerate(value):
            if found := violation(schema["items"], item, strict=strict, at=f"{at}/{i}"):
                return found
    return None


def _object(schema: Mapping[str, Any], value: Mapping[str, Any], *, strict: bool, at: str) -> str | None:
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            return f"{at}: required key [{key}] not found"
    for key, item in value.items():
        if key in properties:
            if found := violation(properties[key], item, strict=strict, at=f"{at}/{key}"):
                return found
        elif strict:
            return f"{at}: extraneous key [{key}] is not permitted"
    return None


def _is(kind: str, value: object) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return False
