"""
Obsrv's management of datasets, and its queries, for the commands: create, publish, read, query.

A far side's refusal is raised as a DeliveryError that says what to do. Only reads and queries are repeated after a
failure: what changes something is sent again solely where it certainly did nothing before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import orjson

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled
from agent.http import Answer, Credential, open_client, quoted, refusal, worded
from agent.schema import Secret
from agent.sinks.obsrv.answers import parsed, table, unanswered
from agent.sinks.obsrv.sink import KEEPALIVE, Obsrv
from agent.timing import Backoff

if TYPE_CHECKING:
    from agent.http.client import Client

PATIENCE = 30.0  # seconds in which a read or a query is repeated
BACKOFF = Backoff(cap=8.0)
MOST = 32 * 1024 * 1024  # bytes of an answer: 5,000 rows, which Obsrv gives at most, of 6 KB
MOST_ROWS = 5000  # of a query's answer (wire facts: Obsrv, datasets and reading back)

Status = Literal["ReadyToPublish", "Live", "Retire", "Delete"]  # what a dataset may be told to become
Say = Callable[[str], None]

_HOLD = partial(Retryable, operator=True)
# Which role each call asks for (api-service, RBAC middleware: apiGroups and roles).
_ROLES = {
    "api.datasets.create": "dataset_creator, dataset_manager or admin",
    "api.datasets.status-transition": "dataset_manager or admin",
    "api.datasets.read": "viewer, dataset_creator, dataset_manager, operations_admin or admin",
    "api.data.out": "viewer, dataset_creator, dataset_manager, operations_admin or admin",
}


def envelope(api: str, **rest: object) -> dict[str, object]:
    """A request's body: the envelope that every call of the API has, and what is asked."""
    msgid = f"telemetry-agent-{token_hex(8)}"
    now_ms = time.time_ns() // 1_000_000
    return {"id": api, "ver": "v2", "ts": str(now_ms), "params": {"msgid": msgid}, **rest}


class Datasets:
    """The datasets of one Obsrv. `open_datasets` makes it. Every method raises DeliveryErrors."""

    def __init__(self, client: Client, url: str, token: Credential, say: Say) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._token = token
        self._say = say

    async def create(self, request: Mapping[str, Any]) -> str:
        """Write a Draft (`POST /v2/datasets/create`) and give its version key. Raises Rejected where it exists."""
        said = await self._asked("api.datasets.create", "POST", "/v2/datasets/create", {"request": request})
        result = said.get("result")
        return worded(result.get("version_key", "")) if isinstance(result, dict) else ""

    async def transition(self, dataset: str, status: Status) -> None:
        """
        Change a dataset's status (`POST /v2/datasets/status-transition`): ReadyToPublish, then Live.

        Live is done by Obsrv's command service, which may take minutes; Retryable with `operator` where it is missing.
        """
        api = "api.datasets.status-transition"
        asked = {"request": {"dataset_id": dataset, "status": status}}
        try:
            await self._asked(api, "POST", "/v2/datasets/status-transition", asked)
        except Retryable as failure:
            if status == "Live" and failure.answer.startswith("ECONNREFUSED"):
                what = "Obsrv does not reach its command service, which publishes datasets: start that one, then go on"
                raise _HOLD(
                    f"{what} with `obsrv dataset create --publish`", status=500, answer=failure.answer
                ) from None
            raise

    async def read(self, dataset: str, fields: Sequence[str] = (), *, draft: bool = False) -> dict[str, Any] | None:
        """
        A dataset as it is published, or its draft; None where there is none (`GET /v2/datasets/read/ID`).

        `fields` are columns; any other name is refused. Beware: asked for the draft of a published dataset that has
        none, Obsrv makes one (api-service, DatasetRead).
        """
        query = (["mode=edit"] if draft else []) + ([f"fields={quote(','.join(fields), safe=',')}"] if fields else [])
        path = f"/v2/datasets/read/{quote(dataset, safe='')}" + (f"?{'&'.join(query)}" if query else "")
        try:
            said = await self._asked("api.datasets.read", "GET", path)
        except _NotThereError:
            return None
        return _object(said.get("result"), "a dataset")

    async def query(self, sql: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        """
        The rows that a query gives (`POST /v2/data/query/KEY`), asked under the first of the keys that there is.

        Raises Retryable where there is none of them.
        """
        for key in keys:
            try:
                said = await self._asked(
                    "api.data.out", "POST", f"/v2/data/query/{quote(key, safe='')}", {"query": sql}
                )
            except _NotThereError:
                continue
            rows = said.get("result")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise _HOLD(f"expected a list of rows as the result, found {quoted(orjson.dumps(rows))}", status=200)
            return rows
        raise _HOLD(
            f"there is no datasource {' or '.join(keys)}: it comes with the dataset's publication; one that has an "
            "alias is asked for by that (--key)",
            status=404,
        )

    async def _asked(
        self, api: str, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Mapping[str, Any]:
        """One call's answer, repeated where that is safe."""
        is_read = api in ("api.datasets.read", "api.data.out")
        content = None if body is None else orjson.dumps(envelope(api, **body))  # once: a repeat is the same request
        clock = asyncio.get_running_loop().time
        until, rng, attempt = clock() + PATIENCE, Random(), 0
        while True:
            try:
                return await self._once(api, method, path, content)
            except Retryable as failure:
                wait = failure.retry_after if isinstance(failure, Throttled) else BACKOFF.delay(attempt, rng)
                # No connection and 429 are the two that certainly did nothing.
                harmless = failure.status == 429 or (failure.status is None and not failure.ambiguous)
                if failure.ambiguous and not is_read:
                    what = f"{failure.reason}; whether it was done is not known: see `obsrv dataset verify`"
                    raise Retryable(what, status=failure.status, answer=failure.answer, ambiguous=True) from failure
                if failure.operator or not (is_read or harmless) or clock() + wait > until:
                    raise
                self._say(f"{failure.reason}; asking again in {max(wait, 0.1):.1f} s")
            attempt += 1
            await asyncio.sleep(wait)

    async def _once(self, api: str, method: str, path: str, content: bytes | None) -> Mapping[str, Any]:
        token = await self._token.read()
        try:
            answer = await self._exchange(method, path, content, token)
        except Retryable as failure:
            told = unanswered(failure, token)
            told.operator |= told is not failure  # it would be the same the next time
            raise told from failure
        if answer.status == 401 and await self._token.renewed(token):
            answer = await self._exchange(method, path, content, await self._token.read())
        return _understood(api, answer)

    async def _exchange(self, method: str, path: str, content: bytes | None, token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return await self._client.request(method, self._url + path, content, headers, hide=[token], most=MOST)


@asynccontextmanager
async def open_datasets(sink: Obsrv, *, token: Secret | None = None, say: Say) -> AsyncIterator[Datasets]:
    """
    The datasets of a sink's Obsrv, by the sink's options.

    `token` takes the place of the sink's `query_token` or `token`: one that may create is not for an agent to keep.
    """
    async with open_client(sink, keepalive=KEEPALIVE) as client:
        shown = Credential(token or sink.query_token or sink.token, "token", of=sink.kind, within=sink.timeout)
        yield Datasets(client, sink.url, shown, say)


class _NotThereError(Retryable):
    """404 with Obsrv's own word for it: no such dataset, or none of that status."""


def _understood(api: str, answer: Answer) -> Mapping[str, Any]:
    """What a good answer says. Raises a DeliveryError that says what to do about any other."""
    said = parsed(answer.body)
    if 200 <= answer.status < 300:
        if said is None:
            cut = len(answer.body) >= MOST
            what = f"more than {MOST} bytes: ask for less" if cut else f'"{quoted(answer.body)}": correct url'
            raise _HOLD(f"expected an answer of Obsrv's, found {what}", status=answer.status)
        return said
    error = table(said or {}, "error")
    code = worded(error.get("code", ""))  # a string or a number
    words = quoted(" ".join(each for each in (code, worded(error.get("message", ""))) if each).encode(errors="replace"))

    def told(kind: Callable[..., DeliveryError], text: str) -> DeliveryError:
        return kind(f"{text} ({words})" if words else text, status=answer.status, answer=words)

    match answer.status, code:
        case 401, _:
            raise told(AuthExpired, "the token was refused: give one that has not expired")
        case 403, _:
            raise told(AuthExpired, f"the token has no role that may do this: it takes {_ROLES[api]} (--token-file)")
        case 404, "DATASET_NOT_FOUND":
            raise told(partial(_NotThereError, operator=True), "there is no such dataset, or it is not of that status")
        case 404, "ROUTE_NOT_FOUND":
            raise told(_HOLD, "there is no such API at this address: correct url, or Obsrv is older than 1.4")
        case 409, "DATASET_EXISTS":
            raise told(Rejected, "there is a dataset of that id already: see `obsrv dataset verify`")
        case 409, _:
            raise told(Rejected, "the dataset's status does not allow this: see `obsrv dataset verify`")
        case 400, _ if error:
            raise told(Rejected, "the request was refused")
        case 500, _ if error:
            raise told(partial(Retryable, ambiguous=True), "Obsrv failed")
    raise refusal(answer.status, answer.body, answer.retry_after) or told(_HOLD, "an answer that is not Obsrv's")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _HOLD(f"expected {what} as the result, found {quoted(orjson.dumps(value))}", status=200)
    return value
