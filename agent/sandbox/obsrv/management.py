"""The other routes: health, metrics, and as much of datasets and queries as a start-up check and a read-back need."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.sandbox.obsrv import answers
from agent.sandbox.obsrv.answers import Answer
from agent.sandbox.obsrv.datasets import CREATED, DAY, Dataset
from agent.sandbox.obsrv.state import State
from agent.sandbox.obsrv.tokens import GENERAL, DeniedError

_COUNT = re.compile(
    r"\s*select\s+count\(\*\)(?:\s+as\s+(\w+))?\s+from\s+\"?([\w.-]+)\"?"
    r"(?:\s+where\s+\"([^\"]+)\"\s*=\s*'([^']*)')?\s*;?\s*",
    re.IGNORECASE,
)
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
    routes: Mapping[tuple[str, str, str], tuple[str, Callable[[], Answer]]] = {
        ("POST", "datasets", "create"): ("api.datasets.create", lambda: _create(state, request, msgid)),
        ("POST", "datasets", "status-transition"): (
            "api.datasets.status-transition",
            lambda: _transition(state, request, msgid),
        ),
        ("POST", "datasets", "list"): ("api.datasets.list", lambda: _list(state, request, msgid)),
        ("GET", "datasets/read", key): ("api.datasets.read", lambda: _read(state, key, parse_qs(url.query))),
        ("POST", "data/query", key): ("api.data.out", lambda: _query(state, key, request, msgid)),
    }
    route = routes.get((method, name, key)) if path.startswith("/v2/") else None
    if route is None:
        return answers.no_route(msgid)
    if state.rbac is not None:
        try:
            state.rbac.check(headers.get("Authorization"), GENERAL)
        except DeniedError as error:
            return denied(error, route[0], msgid)
    return route[1]()


def _create(state: State, body: Mapping[str, Any], msgid: str | None) -> Answer:
    api, row = "api.datasets.create", body.get("request", {})
    for key in ("dataset_id", "name"):
        if key not in row:
            text = f"#properties/request/required must have required property '{key}'"
            return answers.failure(400, "DATASET_INVALID_INPUT", text, msgid, api=api)
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


def _transition(state: State, body: Mapping[str, Any], msgid: str | None) -> Answer:
    api, wanted = "api.datasets.status-transition", body.get("request", {})
    key, status = wanted.get("dataset_id", ""), wanted.get("status", "")
    tables = state.catalogue
    dataset = tables.live.get(key) if status in ("Retired", "Archived") else tables.drafts.get(key)
    if dataset is None:
        text = f"Dataset with the given dataset_id:{key} not found"
        return answers.failure(404, "DATASET_NOT_FOUND", text, msgid, api=api)
    if status == "Live":
        if not state.publishes:
            return answers.failure(500, "ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:18000", msgid, api=api)
        tables.put(Dataset.of({**tables.drafts.pop(key).row(), "status": status}))
    else:
        tables.put(Dataset.of({**dataset.row(), "status": status}))
    result = {"message": f"Dataset status transition to {status} successful", "dataset_id": key}
    return answers.success(api, msgid, result)


def _read(state: State, key: str, query: Mapping[str, list[str]]) -> Answer:
    api, draft = "api.datasets.read", query.get("mode") == ["edit"]
    dataset = (state.catalogue.drafts if draft else state.catalogue.live).get(key)
    if dataset is None:
        text = f"Dataset with the given dataset_id:{key} not found"
        return answers.failure(404, "DATASET_NOT_FOUND", text, None, api=api)
    row = dataset.row()
    wanted = [name for part in query.get("fields", []) for name in part.split(",")]
    if unknown := [name for name in wanted if name not in row]:
        text = f"The specified fields [{','.join(unknown)}] in the dataset cannot be found."
        return answers.failure(400, "DATASET_INVALID_FIELDS", text, None, api=api)
    shown = {name: row[name] for name in wanted} if wanted else row
    if not draft:
        always = {"api_version": row["api_version"], "alias": row["alias"]}
        shown = {**shown, **always, "connectors_config": [], "transformations_config": []}
    return answers.success(api, None, shown)


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
    match = _COUNT.fullmatch(str(body["query"]))
    if match is None:
        text = "the sandbox answers SELECT COUNT(*), with one column's value at most"
        return answers.failure(400, "DATA_OUT_INVALID_INPUT", text, msgid, api=api)
    column, value = match[3], match[4]
    rows = state.ledger.stored(dataset.id)
    count = len(rows) if column is None else sum(row.event.get(column) == value for row in rows)
    return answers.success(api, msgid, [{match[1] or "EXPR$0": count}])


def _metrics(state: State) -> str:
    lines = ["# HELP node_total_api_calls Total number of api calls", "# TYPE node_total_api_calls counter"]
    for status, count in state.ledger.report()["statuses"].items():
        lines.append(f"node_total_api_calls{{id={json.dumps(answers.DATA_IN)},status={json.dumps(status)}}} {count}")
    return "\n".join(lines) + "\n"
