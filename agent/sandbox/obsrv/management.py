"""The other routes: health, metrics, and as much of datasets and queries as a start-up check and a read-back need."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.sandbox.obsrv import answers
from agent.sandbox.obsrv.answers import Answer
from agent.sandbox.obsrv.datasets import CREATED, DAY, Catalogue, Dataset
from agent.sandbox.obsrv.druid import rows
from agent.sandbox.obsrv.state import State
from agent.sandbox.obsrv.tokens import CREATE, GENERAL, TRANSITION, DeniedError

TYPES = ("event", "transaction", "master")
# What a dataset may become, and what it has to be before.
TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    "Delete": ("Draft", "ReadyToPublish"),
    "ReadyToPublish": ("Draft",),
    "Live": ("ReadyToPublish",),
    "Retire": ("Live",),
}
# What a read gives that names no fields, and the columns that it may name.
FIELDS = ("dataset_id", "name", "type", "status", "tags", "version", "api_version", "dataset_config")
COLUMNS = (
    *FIELDS,
    *("id", "entry_topic", "extraction_config", "dedup_config", "validation_config", "data_schema", "denorm_config"),
    *("router_config", "sample_data", "created_by", "updated_by", "created_date", "updated_date", "published_date"),
)
_REQUEST = "#properties/request"
_NO_CHOICE = "enum must be equal to one of the allowed values"
_DEDUP = {"dedup_period": 7 * DAY}


def msgid_of(value: object) -> str | None:
    """The msgid that is echoed, whatever else is wrong with the request."""
    params = value.get("params") if isinstance(value, dict) else None
    msgid = params.get("msgid") if isinstance(params, dict) else None
    return msgid if isinstance(msgid, str) and msgid else None


def denied(error: DeniedError, api: str, msgid: str | None) -> Answer:
    """The answer to who may not."""
    code = "UNAUTHORIZED ACCESS" if error.status == 401 else "FORBIDDEN ACCESS"
    return answers.denied(error.status, code, error.message, msgid, api=api)


def handle(state: State, method: str, target: str, value: object, headers: Mapping[str, str]) -> Answer:
    """Answer a request that is not data-in."""
    url = urlsplit(target)
    path = url.path.lower().rstrip("/")
    msgid = msgid_of(value)
    request = value if isinstance(value, dict) else {}
    if path.startswith("/data/v1/"):
        return answers.gone()
    if (method, path) == ("GET", "/health"):
        return answers.success("api.health", msgid, {})
    if (method, path) == ("GET", "/metrics"):
        return Answer(200, _metrics(state).encode(), "text/plain; version=0.0.4; charset=utf-8")
    name, _, key = path.removeprefix("/v2/").rpartition("/")
    key = url.path.rstrip("/").rpartition("/")[2]
    routes: Mapping[tuple[str, str, str], tuple[str, Sequence[str], Callable[[], Answer]]] = {
        ("POST", "datasets", "create"): ("api.datasets.create", CREATE, lambda: _create(state, request, msgid)),
        ("POST", "datasets", "status-transition"): (
            "api.datasets.status-transition",
            TRANSITION,
            lambda: _transition(state, request, msgid),
        ),
        ("POST", "datasets", "list"): ("api.datasets.list", GENERAL, lambda: _list(state, request, msgid)),
        ("GET", "datasets/read", key): ("api.datasets.read", GENERAL, lambda: _read(state, key, parse_qs(url.query))),
        ("POST", "data/query", key): ("api.data.out", GENERAL, lambda: _query(state, key, request, msgid)),
    }
    route = routes.get((method, name, key)) if path.startswith("/v2/") else None
    if route is None:
        return answers.no_route(msgid)
    api, allowed, answered = route
    if state.rbac is not None:
        try:
            state.rbac.check(headers.get("Authorization"), allowed)
        except DeniedError as error:
            return denied(error, api, msgid)
    return answered()


def _create(state: State, body: Mapping[str, Any], msgid: str | None) -> Answer:
    api, row = "api.datasets.create", body.get("request", {})
    if problem := _badly_asked(api, body, ("dataset_id", "name")):
        return answers.failure(400, "DATASET_INVALID_INPUT", problem, msgid, api=api)
    if row.get("type", "event") not in TYPES:
        return answers.failure(400, "DATASET_INVALID_INPUT", f"{_REQUEST}/properties/type/{_NO_CHOICE}", msgid, api=api)
    if row["dataset_id"] in state.catalogue.drafts or row["dataset_id"] in state.catalogue.live:
        text = f"Dataset Already exists with id:{row['dataset_id']}"
        return answers.failure(409, "DATASET_EXISTS", text, msgid, api=api)
    if "type" not in row:
        text = "notNull Violation: datasets_draft.type cannot be null"
        return answers.failure(500, "INTERNAL_SERVER_ERROR", text, msgid, api=api)
    extraction = {**CREATED, **row.get("extraction_config", {})}
    extraction["dedup_config"] = {**_DEDUP, **extraction.get("dedup_config", {})}
    defaults = {
        "entry_topic": "ingest",
        "validation_config": {"validate": True, "mode": "Strict"},
    }
    dedup = {"drop_duplicates": False, **row.get("dedup_config", {}), **_DEDUP}
    draft = {**defaults, **row, "extraction_config": extraction, "dedup_config": dedup, "status": "Draft"}
    state.catalogue.put(Dataset.of(draft))
    result = {"id": row["dataset_id"], "version_key": str(int(time.time() * 1000))}
    return answers.success(api, msgid, result)


def _badly_asked(api: str, body: Mapping[str, Any], required: tuple[str, ...]) -> str | None:
    """What ajv says first about the request of a change."""
    if body.get("id") != api:
        return f"#properties/id/{_NO_CHOICE}"
    for key in required:
        if key not in body.get("request", {}):
            return f"{_REQUEST}/required must have required property '{key}'"
    return None


def _transition(state: State, body: Mapping[str, Any], msgid: str | None) -> Answer:
    api, wanted = "api.datasets.status-transition", body.get("request", {})
    problem = _badly_asked(api, body, ("dataset_id", "status"))
    if problem is None and wanted["status"] not in TRANSITIONS:
        problem = f"{_REQUEST}/properties/status/{_NO_CHOICE}"
    if problem is not None:
        return answers.failure(400, "DATASET_STATUS_TRANSITION_INVALID_INPUT", problem, msgid, api=api)
    key, status = wanted["dataset_id"], wanted["status"]
    tables = state.catalogue
    dataset = (tables.live if status == "Retire" else tables.drafts).get(key)
    if dataset is None:
        text = f"Dataset not found for dataset: {key}"
        return answers.failure(404, "DATASET_NOT_FOUND", text, msgid, api=api)
    if dataset.status not in TRANSITIONS[status]:
        text = f"Transition failed for dataset: {key} status:{dataset.status} with status transition to {status}"
        return answers.failure(409, f"DATASET_{status.upper()}_FAILURE", text, msgid, api=api)
    match status:
        case "Live" if not state.publishes:
            return answers.failure(500, "ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:18000", msgid, api=api)
        case "Live":
            tables.put(Dataset.of({**tables.drafts.pop(key).row(), "status": status}))
        case "Delete":
            del tables.drafts[key]
        case _:
            tables.put(Dataset.of({**dataset.row(), "status": "Retired" if status == "Retire" else status}))
    result = {"message": f"Dataset status transition to {status} successful", "dataset_id": key}
    return answers.success(api, msgid, result)


def _read(state: State, key: str, query: Mapping[str, list[str]]) -> Answer:
    api, draft = "api.datasets.read", query.get("mode") == ["edit"]
    wanted = [name for part in query.get("fields", []) for name in part.split(",")]
    if unknown := [name for name in wanted if name not in COLUMNS]:
        text = f"The specified fields [{','.join(unknown)}] in the dataset cannot be found."
        return answers.failure(400, "DATASET_INVALID_FIELDS", text, None, api=api)
    dataset = _draft(state.catalogue, key) if draft else state.catalogue.live.get(key)
    if dataset is None:
        text = f"Dataset with the given dataset_id:{key} not found"
        return answers.failure(404, "DATASET_NOT_FOUND", text, None, api=api)
    row = dataset.row()
    shown = {name: row.get(name) for name in wanted or FIELDS}
    if not draft:
        always = {"api_version": row["api_version"], "alias": row["alias"]}
        shown = {**shown, **always, "connectors_config": [], "transformations_config": []}
    return answers.success(api, None, shown)


def _draft(tables: Catalogue, key: str) -> Dataset | None:
    """The draft. Of a published dataset that has none, one is made: reading for an edit is a change there."""
    if key not in tables.drafts and key in tables.live:
        tables.drafts[key] = replace(tables.live[key], status="Draft")
    return tables.drafts.get(key)


def _list(state: State, body: Mapping[str, Any], msgid: str | None) -> Answer:
    wanted = body.get("request", {}).get("filters", {}).get("status")
    rows = [dataset.row() for table in (state.catalogue.live, state.catalogue.drafts) for dataset in table.values()]
    data = [row for row in rows if not wanted or row["status"] in wanted]
    return answers.success("api.datasets.list", msgid, {"data": data, "count": len(data)})


def _query(state: State, key: str, body: Mapping[str, Any], msgid: str | None) -> Answer:
    api = "api.data.out"
    if "query" not in body:
        text = "#required must have required property 'query'"
        return answers.failure(400, "DATA_OUT_INVALID_INPUT", text, msgid, api=api)
    dataset = state.catalogue.by_datasource(key)
    if dataset is None:
        text = f"Dataset with id/alias name '{key}' not found"
        return answers.failure(404, "DATASET_NOT_FOUND", text, msgid, api=api)
    found = rows(str(body["query"]), [stored.event for stored in state.ledger.stored(dataset.id)])
    if found is None:
        text = "the sandbox answers SELECT COUNT(*) and SELECT of columns, with one column's value at most"
        return answers.failure(400, "DATA_OUT_INVALID_INPUT", text, msgid, api=api)
    return answers.success(api, msgid, found)


def _metrics(state: State) -> str:
    lines = ["# HELP node_total_api_calls Total number of api calls", "# TYPE node_total_api_calls counter"]
    for status, count in state.ledger.report()["statuses"].items():
        lines.append(f"node_total_api_calls{{id={json.dumps(answers.DATA_IN)},status={json.dumps(status)}}} {count}")
    return "\n".join(lines) + "\n"
