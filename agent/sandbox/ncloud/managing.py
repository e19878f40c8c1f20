"""The calls about schemas: create, get, update, delete, and the list of the vendor's own."""

from __future__ import annotations

from agent.sandbox.ncloud.answers import Answer, RefusedError, value
from agent.sandbox.ncloud.schemas import Schema, SchemaError, merged
from agent.sandbox.ncloud.state import Call, State

SYSTEM = [
    {"cw_key": "460438474722512896", "prodName": "System/Server(VPC)"},
    {"cw_key": "567435234753253376", "prodName": "System/Object Storage(VPC)"},
]


def create(state: State, call: Call) -> Answer:
    """CreateCustomSchema: the new cw_key."""
    body = call.value
    if not isinstance(body, dict):
        raise RefusedError("100", "The body must be an object.")
    schema = _read({**body, "cw_key": state.schemas.fresh_key()})
    if state.settings.same_name == "error" and state.schemas.named(schema.product) is not None:
        raise RefusedError("100", f"{schema.product} already exists.")
    state.schemas.put(schema)
    return value({"cw_key": schema.cw_key}, stored=True)


def get(state: State, call: Call) -> Answer:
    """GetProductSchema, by its name."""
    if not call.query.get("prodName"):
        raise RefusedError("100", "prodName is required.")
    schema = state.schemas.named(call.query["prodName"], call.query.get("cw_key"))
    if schema is not None:
        return value(schema.row(secret=state.settings.shows_secret))
    match state.settings.missing_schema:
        case "error":
            raise RefusedError("100", "No such schema.")
        case "empty":
            return Answer()
        case "object":
            return value({})
        case _:
            return value(None)


def update(state: State, call: Call) -> Answer:
    """UpdateProductSchema: the fields of one that is there."""
    body = call.value
    if not isinstance(body, dict) or not isinstance(body.get("cw_key"), str):
        raise RefusedError("100", "prodName, cw_key and fields are required.")
    old = state.schemas.named(str(body.get("prodName")), body["cw_key"])
    if old is None:
        raise RefusedError("100", "No such schema.")
    new = _read({"useCustomResource": old.custom_resource, **body})
    state.schemas.put(merged(old, new) if state.settings.update == "merge" else new)
    return value({"msg": "success"}, stored=True)


def delete(state: State, call: Call) -> Answer:
    """DeleteProductSchema; what it answers is not documented, so: nothing."""
    schema = state.schemas.named(call.query.get("prodName", ""), call.query.get("cw_key", ""))
    if schema is None:
        raise RefusedError("100", "No such schema.")
    state.schemas.drop(schema.cw_key)
    return Answer(stored=True)


def system(_state: State, _call: Call) -> Answer:
    """GetSystemSchemaKeyList."""
    return value(SYSTEM)


def _read(body: dict[str, object]) -> Schema:
    try:
        return Schema.of(body)
    except SchemaError as error:
        raise RefusedError("100", str(error)) from None
