"""
The stand-in for Obsrv's API service: the checks in its order, the faults in between, the books at the end.

    arrival ▸ read ▸ parse ▸ route ▸ who ▸ schema ▸ dataset ▸ topic ▸ broker ▸ pipeline ▸ answer
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from agent.sandbox import controlling, serving, striking
from agent.sandbox.faults import Fault, Faults, Subject, records
from agent.sandbox.obsrv import answers, body, control, management, schema, wire
from agent.sandbox.obsrv.answers import Answer
from agent.sandbox.obsrv.datasets import Catalogue, Dataset
from agent.sandbox.obsrv.ledger import Accepted, Conflict, Ledger, Lost, Request, Stored
from agent.sandbox.obsrv.pipeline import kafka_record
from agent.sandbox.obsrv.state import State
from agent.sandbox.obsrv.tokens import DeniedError, NoAnswerError
from agent.sandbox.striking import StruckError, meet

_DATA_IN = re.compile(r"/v2/data/in/([^/?]+)/?", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_TOO_LARGE = "The request included a message larger than the max message size the server will accept"
_BAD_TOPIC = "The request attempted to perform an operation on an invalid topic"


class Sandbox:
    """
    One Obsrv. `async with Sandbox.open(...) as sandbox`, then `sandbox.url`.

    What it took and what became of it: `accepted`, `stored(dataset)`, `lost`, `conflicts`, `requests`.
    What it does wrong: `faults.add(...)`.
    """

    def __init__(self, state: State, url: str = "") -> None:
        self.state = state
        self.url = url
        self._closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        datasets: Iterable[Dataset] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        journal: Path | None = None,
        id_keys: Iterable[str] = ("uid", "fields.uid", "id"),
        keep_alive: float = 5.0,
        **options: Any,
    ) -> AsyncIterator[Sandbox]:
        """
        Serve on a loopback port (0: any) until left.

        `journal`: append the books to that file. `id_keys`: where an event's own id stands. `keep_alive`: seconds
        after which an idle connection is closed, Obsrv's 5 unless told. Further options are those of `State`: rbac,
        body_limit, max_message, publishes.
        """
        state = State(catalogue=Catalogue(datasets), ledger=Ledger(id_keys=id_keys, journal=journal), **options)
        sandbox = cls(state)
        listening = serving.listening(
            sandbox._serve, host, port, sandbox._closing, ssl_context=ssl_context, keep_alive=keep_alive
        )
        with closing(state.ledger):
            async with listening as sandbox.url:
                yield sandbox

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    @property
    def faults(self) -> Faults:
        """What it does wrong."""
        return self.state.faults

    @property
    def catalogue(self) -> Catalogue:
        """Its datasets."""
        return self.state.catalogue

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return self.state.ledger

    @property
    def requests(self) -> list[Request]:
        """Every data-in request, in order of arrival."""
        return self.ledger.requests

    @property
    def accepted(self) -> list[Accepted]:
        """What is in the entry topics."""
        return self.ledger.accepted

    @property
    def lost(self) -> list[Lost]:
        """What was accepted and not stored, with the reason."""
        return self.ledger.lost

    @property
    def conflicts(self) -> list[Conflict]:
        """Every msgid that came with two different data."""
        return self.ledger.conflicts

    def stored(self, dataset: str) -> list[Stored]:
        """What came through the pipeline."""
        return self.ledger.stored(dataset)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if path.startswith(controlling.PREFIX):
            return await control.handle(self.state, request)
        match = _DATA_IN.fullmatch(path.partition("?")[0])
        entry = Request(at=time.time(), method=request.method, path=path, headers=dict(request.headers))
        if match:
            self.requests.append(entry)
        began = time.monotonic()
        try:
            answer = await self._answer(request, entry, match[1] if match else None)
            entry.status = answer.status
            return wire.response(answer)
        except StruckError as struck:
            return await self._strike(request, entry, struck)
        except NoAnswerError:
            return await serving.hang(request, self._closing)
        except (ConnectionError, web.RequestPayloadError):  # gone in the middle of the body: nothing to answer
            return web.Response(status=400)
        finally:
            entry.seconds = time.monotonic() - began

    async def _answer(self, request: web.BaseRequest, entry: Request, key: str | None) -> Answer:
        subject = Subject(_decoded(key))
        await meet(self.faults, "arrival", subject, entry)
        serving.go_on(request)
        raw, entry.size, entry.crc = await serving.read(request, self.state.body_limit)
        value: object = None
        unreadable: body.BodyError | None = None
        try:
            if entry.size > self.state.body_limit:
                raise body.BodyError(body.TOO_LARGE)
            value, plain = body.read(request.headers, raw, self.state.body_limit)
            entry.plain = len(plain)
            crc = self._note(subject.dataset, entry, value) if key is not None else 0
            subject = Subject(subject.dataset, plain, records(value))
        except body.BodyError as error:
            unreadable = error
        await meet(self.faults, "read", subject, entry)
        if unreadable is not None:
            return answers.unreadable(str(unreadable))
        if key is None:
            return management.handle(self.state, request.method, request.raw_path, value, request.headers)
        msgid = management.msgid_of(value)
        if request.method != "POST":
            allow = {"Allow": "POST"}
            known = request.method == "OPTIONS"
            return Answer(200, b"POST", "text/html; charset=utf-8", allow) if known else answers.no_route(msgid)
        if (clean := _clean(key)) is None:
            return answers.undecodable(key, msgid)
        return await self._data_in(clean, request.headers.get("Authorization"), value, entry, subject, crc)

    def _note(self, dataset: str, entry: Request, value: object) -> int:
        if schema.first_error(value) is not None or not isinstance(value, dict):
            return 0
        entry.msgid = value["params"]["msgid"]
        entry.records = len(value["data"]) if isinstance(value["data"], list) else 1
        return self.ledger.saw(dataset, entry.msgid, value["data"])

    async def _data_in(
        self, key: str, authorization: str | None, value: object, entry: Request, subject: Subject, crc: int
    ) -> Answer:
        msgid = management.msgid_of(value)
        if self.state.rbac is not None:
            try:
                self.state.rbac.check(authorization)
            except DeniedError as denied:
                return management.denied(denied, answers.DATA_IN, msgid)
        problem = schema.first_error(value)
        if problem is not None or not isinstance(value, dict):
            return answers.failure(400, "DATA_INGESTION_INVALID_INPUT", problem or "", msgid)
        await meet(self.faults, "lookup", subject, entry)
        dataset = self.catalogue.find(key)
        if dataset is None:
            return answers.failure(404, "DATASET_NOT_FOUND", f"Dataset with id/alias name '{key}' not found", msgid)
        if not dataset.topic:
            return answers.failure(404, "TOPIC_NOT_FOUND", "Entry topic not found", msgid)
        await meet(self.faults, "send", subject, entry)
        if not dataset.topic_is_valid:
            return answers.failure(500, "INTERNAL_SERVER_ERROR", _BAD_TOPIC, msgid)
        if entry.plain > self.state.max_message and wire.snappy_size(subject.body) > self.state.max_message:
            return answers.failure(500, 10, _TOO_LARGE, msgid)
        done = answers.success(answers.DATA_IN, msgid, {"message": "Data ingested successfully"})
        fault = self.faults.strike("stored", subject)
        self._accept(dataset, value, crc, done.status if fault is None else _status(fault))
        if fault is not None:
            raise StruckError(fault, done)
        return done

    def _accept(self, dataset: Dataset, value: Mapping[str, Any], crc: int, status: int | None) -> None:
        msgid, data = value["params"]["msgid"], value["data"]
        now = time.time()
        accepted = Accepted(
            at=now,
            dataset=dataset.id,
            topic=dataset.topic,
            msgid=msgid,
            count=len(data) if isinstance(data, list) else 1,
            batch=isinstance(data, list),
            crc=crc,
            status=status,
            record=kafka_record(dataset, msgid, data, int(now * 1000)),
        )
        self.ledger.accept(accepted, self.state.pipeline.process(dataset, msgid, data))

    async def _strike(
        self, request: web.BaseRequest, entry: Request, struck: StruckError[Answer]
    ) -> web.StreamResponse:
        fault = struck.fault
        ended = await striking.end(request, entry, fault, self._closing)
        if ended is not None:
            return ended
        answer = wire.failure(fault, entry.msgid) if struck.reached is None else struck.reached
        match fault.action:
            case "half":
                return await serving.half(request, answer.status, answer.body, {"Content-Type": answer.content_type})
            case "answer":
                answer = wire.failure(fault, entry.msgid)
        entry.status = answer.status
        return wire.response(answer)


def _status(fault: Fault) -> int | None:
    return fault.status if fault.action == "answer" else None


def _clean(key: str) -> str | None:
    """The dataset id as meant: percent-decoded and trimmed; None where it cannot be decoded."""
    if _BAD_ESCAPE.search(key):
        return None
    try:
        return unquote(key, errors="strict").strip()
    except UnicodeDecodeError:
        return None


def _decoded(key: str | None) -> str:
    return (_clean(key) or key) if key else ""
