"""
The gateway and what is behind it: the checks in order, the faults in between, the books at the end.

    arrival ▸ size ▸ read ▸ who ▸ route ▸ right ▸ rate ▸ body ▸ lookup ▸ send ▸ the call ▸ stored ▸ answer

Which of key, route and size the real gateway asks first is not published.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from agent.sandbox import controlling, serving, striking
from agent.sandbox.faults import Faults, Subject, records
from agent.sandbox.ncloud import answers, body, control, gateway, routes, wire
from agent.sandbox.ncloud.answers import Answer, RefusedError
from agent.sandbox.ncloud.flow.books import Flow
from agent.sandbox.ncloud.gateway import Key, Keys
from agent.sandbox.ncloud.ledger import Discarded, Ledger, Request
from agent.sandbox.ncloud.points import points
from agent.sandbox.ncloud.rows import Row
from agent.sandbox.ncloud.schemas import Schema, Schemas
from agent.sandbox.ncloud.settings import Settings
from agent.sandbox.ncloud.state import Call, State
from agent.sandbox.striking import StruckError, meet


class Sandbox:
    """
    One account at one gateway. `async with Sandbox.open(...) as sandbox`, then `sandbox.url`.

    What it took and what became of it: `stored(cw_key)`, `untargeted(cw_key)`, `discarded`, `points(...)`, `requests`.
    Data Flow's part, and what ran there how often: `flow`.
    What it does wrong: `faults.add(...)`. All that is settable: `settings`, `keys`, `schemas`.
    """

    def __init__(self, state: State, url: str = "") -> None:
        self.state = state
        self.url = url
        self._closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        schemas: Iterable[Schema | Mapping[str, Any]] = (),
        *,
        keys: Iterable[Key] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        journal: Path | None = None,
        keep_alive: float = 5.0,
        **settings: Any,
    ) -> AsyncIterator[Sandbox]:
        """
        Serve on a loopback port (0: any) until left.

        `schemas`: rows as CreateCustomSchema takes them, with a cw_key or without. `keys`: who may call; nobody
        unless told. `journal`: append the books to that file. Further options are those of `Settings`.
        """
        catalogue = Schemas()
        for item in schemas:
            catalogue.put(item if isinstance(item, Schema) else Schema.of(item, catalogue.fresh_key()))
        switches = Settings()
        switches.change(settings)
        state = State(settings=switches, keys=Keys(keys), schemas=catalogue, ledger=Ledger(journal))
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
    def settings(self) -> Settings:
        """All that the vendor's pages leave open, and the clock."""
        return self.state.settings

    @property
    def keys(self) -> Keys:
        """Who may call."""
        return self.state.keys

    @property
    def schemas(self) -> Schemas:
        """The account's schemas."""
        return self.state.schemas

    @property
    def flow(self) -> Flow:
        """The account's jobs, workflows and triggers in Data Flow, and their executions."""
        return self.state.flow

    @property
    def faults(self) -> Faults:
        """What it does wrong."""
        return self.state.faults

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return self.state.ledger

    @property
    def requests(self) -> list[Request]:
        """Every request, in order of arrival."""
        return self.ledger.requests

    @property
    def discarded(self) -> list[Discarded]:
        """What was taken in and thrown away, with the reason."""
        return self.ledger.discarded

    def stored(self, cw_key: str) -> list[Row]:
        """The rows that have a target."""
        return [row for row in self.ledger.rows(cw_key) if row.target is not None]

    def untargeted(self, cw_key: str) -> list[Row]:
        """The rows that came without their id dimension."""
        return [row for row in self.ledger.rows(cw_key) if row.target is None]

    def points(
        self, cw_key: str, metric: str, dimensions: Mapping[str, str] | None = None, **how: str
    ) -> list[tuple[int, float]]:
        """What QueryData would give once all is visible; `how`: interval, aggregation, across."""
        schema = self.schemas.find(cw_key)
        known = schema.find(metric) if schema is not None else None
        return [] if known is None else points(self.ledger.rows(cw_key), known, dimensions or {}, **how)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        if target.startswith(controlling.PREFIX):
            return await control.handle(self.state, request)
        entry = _entry(request, self.state.now_ms())
        self.requests.append(entry)
        began = time.monotonic()
        try:
            answer = await self._answer(request, entry, len(self.requests) - 1)
            return self._respond(entry, answer)
        except RefusedError as error:
            return self._respond(entry, answers.refused(error, self.settings, accept=_accept(request)))
        except StruckError as struck:
            return await self._strike(request, entry, struck)
        except (ConnectionError, web.RequestPayloadError):  # gone in the middle of the body: nothing to answer
            return web.Response(status=400)
        finally:
            entry.seconds = time.monotonic() - began
            self.ledger.finished(entry)

    def _respond(self, entry: Request, answer: Answer) -> web.Response:
        entry.status, entry.result = answer.status, answer.result
        return wire.response(self.state, entry, answer)

    async def _answer(self, request: web.BaseRequest, entry: Request, position: int) -> Answer:
        settings = self.settings
        path, _, query = request.raw_path.partition("?")
        entry.deprecated = path == routes.DEPRECATED
        asked_for = f"{request.method} {path}"
        await meet(self.faults, "arrival", Subject(asked_for), entry)
        if (request.content_length or 0) > settings.body_limit:  # refused by its length alone, before it is read
            entry.size = request.content_length or 0
            raise RefusedError("430", "The body is too large.")
        serving.go_on(request)
        raw, entry.size, entry.crc = await serving.read(request, settings.body_limit, whole=False)
        if entry.size > settings.body_limit:
            raise RefusedError("430", "The body is too large.")
        value, unreadable = _look(request.headers, raw, settings)
        entry.cw_key = _cw_key(value)
        subject = Subject(entry.cw_key or asked_for, raw, records(value))
        await meet(self.faults, "read", subject, entry)
        target, now = request.raw_path.encode("utf-8", "surrogateescape"), self.state.now_ms()
        key = gateway.authenticate(self.keys, request.headers, request.method, target, now, settings.skew)
        entry.key = key.id
        right, call, ids = routes.route(request.method, path, key)
        self.state.rate.count(settings, now)
        if isinstance(unreadable, RefusedError):
            raise unreadable
        await meet(self.faults, "lookup", subject, entry)
        await meet(self.faults, "send", subject, entry)
        if unreadable is not None and right == "dataflow":
            value = unreadable  # no object, whatever else: what is no JSON the service itself refuses
        elif unreadable is not None:
            if right != "send" or settings.unreadable == "status":
                raise RefusedError("100", str(unreadable))
            return answers.sent(settings.failure, str(unreadable))
        asked = dict(parse_qsl(query, keep_blank_values=True))
        made = Call(value=value, query=asked, entry=entry, position=position, now_ms=now, ids=ids)
        answer = call(self.state, made)
        if answer.stored and (fault := self.faults.strike("stored", subject)):
            raise StruckError(fault, answer)
        return answer

    async def _strike(
        self, request: web.BaseRequest, entry: Request, struck: StruckError[Answer]
    ) -> web.StreamResponse:
        fault = struck.fault
        ended = await striking.end(request, entry, fault, self._closing)
        if ended is not None:
            return ended
        refusal = answers.struck(fault, self.settings, _accept(request), request.raw_path.partition("?")[0])
        answer = refusal if struck.reached is None else struck.reached
        match fault.action:
            case "half":
                said = wire.headers(self.state, entry, answer)
                return await serving.half(request, answer.status, answer.body, said)
            case "none":
                return self._respond(entry, answer)
            case _:
                return self._respond(entry, refusal)


def _entry(request: web.BaseRequest, now_ms: int) -> Request:
    signed = request.headers.get(gateway.SIGNATURE, "")
    return Request(
        at=now_ms,
        method=request.method,
        target=request.raw_path,
        headers={name: text for name, text in request.headers.items() if name.lower() not in gateway.SECRETS},
        timestamp=request.headers.get(gateway.TIMESTAMP, ""),
        stamp=hashlib.sha256(signed.encode("utf-8", "surrogateescape")).hexdigest()[:16] if signed else "",
        region=request.headers.get("X-NCP-REGION_NO"),
        trace=os.urandom(16).hex(),
    )


def _look(
    headers: Mapping[str, str], raw: bytes, settings: Settings
) -> tuple[object, RefusedError | body.UnreadableError | None]:
    """The body's value ahead of its turn: the books and the faults want to know whom it concerns."""
    try:
        return body.parse(body.plain(headers, raw, settings)), None
    except (RefusedError, body.UnreadableError) as error:
        return None, error


def _accept(request: web.BaseRequest) -> str:
    return request.headers.get("Accept", "").lower()


def _cw_key(value: object) -> str:
    key = value.get("cw_key") if isinstance(value, dict) else None
    return key if isinstance(key, str) else ""
