"""
The stand-in for Rackspace: three addresses, the checks in their order, the faults in between, the books at the end.

    arrival ▸ gate ▸ read ▸ inflate ▸ media ▸ route ▸ parse ▸ validate ▸ lookup ▸ send ▸ Elasticsearch ▸ stored ▸ answer

The three sides (ingest, query, Identity) have a port each, as the real ones have a host each: who takes one for the
other is told 404.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from aiohttp import web

from agent.sandbox import controlling, serving, striking
from agent.sandbox.faults import Fault, Faults, Subject
from agent.sandbox.rackspace import control, failing, identity, ingest, query, wire
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.clock import Clock, iso
from agent.sandbox.rackspace.gate import Gate
from agent.sandbox.rackspace.ingest import Ready
from agent.sandbox.rackspace.ledger import Ledger, Request, Side, Stored
from agent.sandbox.rackspace.state import State
from agent.sandbox.rackspace.tokens import Tokens, User
from agent.sandbox.striking import StruckError, meet

_TENANT = re.compile(r"/v[0-9.]+/([^/]+)/.+")
_TOKEN = re.compile(r"/tokens/.+")  # the end of a token names it, the books do not
_SIDES: tuple[Side, ...] = ("ingest", "query", "identity")


class Sandbox:
    """
    One Rackspace. `async with Sandbox.open(...) as sandbox`, then `sandbox.url`, `.query_url`, `.identity_url`.

    What it took: `requests`, `events(tenant)`, `tenants()`, `busiest(tenant)`, `ledger.issued`. What it does wrong:
    `faults.add(failing.…)`, `query_faults`, `identity_faults`, `tokens.revoke_all()`, `tokens.distrust()`.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        hosted: bool = False,
        users: Sequence[User] = (),
        host: str = "127.0.0.1",
        ports: Sequence[int] = (0, 0, 0),
        ssl_context: ssl.SSLContext | None = None,
        journal: Path | None = None,
        clock_offset: float = 0.0,
        token_life: float = 86400.0,
        renew_within: float = 3600.0,
        rate: int = 1000,
        minute: float = 60.0,
        over_limit: Literal[413, 429] = 413,
        retry_after: Literal["seconds", "date"] = "seconds",
        keep_alive: float = 3600.0,
        **options: Any,
    ) -> AsyncIterator[Sandbox]:
        """
        Serve on loopback ports (ingest, query, Identity; 0: any) until left.

        `hosted`: a token is asked for and `rate` requests `minute` are let through. Without `users`, there is one:
        `User()`. `journal`: append the books to that file. Further options are those of `State`: mode, build, index,
        doubles, window, body_limit, visible_after, max_results, dated, expires_form.
        """
        clock = Clock(clock_offset)
        tokens = Tokens(clock, tuple(users) or (User(),), life=token_life, renew_within=renew_within)
        urls: dict[Side, str] = {}
        gate = Gate(
            clock=clock,
            tokens=tokens,
            identity=lambda: f"{urls['identity']}/v2.0",
            rate=rate,
            minute=minute,
            status=over_limit,
            retry_after=retry_after,
        )
        ledger = Ledger(journal)
        state = State(clock=clock, tokens=tokens, ledger=ledger, gate=gate if hosted else None, urls=urls, **options)
        sandbox = cls(state)
        async with AsyncExitStack() as stack:
            stack.callback(ledger.close)
            for side, port in zip(_SIDES, ports, strict=True):
                # Netty closes no idle connection unless told.
                listening = serving.listening(
                    partial(sandbox._serve, side),
                    host,
                    port,
                    sandbox._closing,
                    ssl_context=ssl_context,
                    keep_alive=keep_alive,
                )
                urls[side] = await stack.enter_async_context(listening)
            yield sandbox

    @property
    def url(self) -> str:
        """Where events are posted, without /v2.0."""
        return self.state.urls["ingest"]

    @property
    def query_url(self) -> str:
        """Where they are read."""
        return self.state.urls["query"]

    @property
    def identity_url(self) -> str:
        """Where a key becomes a token."""
        return self.state.urls["identity"]

    @property
    def clock(self) -> Clock:
        """Its clock; set `offset`."""
        return self.state.clock

    @property
    def tokens(self) -> Tokens:
        """Identity's users and tokens."""
        return self.state.tokens

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return self.state.ledger

    @property
    def faults(self) -> Faults:
        """What the ingest side does wrong."""
        return self.state.faults["ingest"]

    @property
    def query_faults(self) -> Faults:
        """What the query side does wrong."""
        return self.state.faults["query"]

    @property
    def identity_faults(self) -> Faults:
        """What Identity does wrong."""
        return self.state.faults["identity"]

    @property
    def requests(self) -> list[Request]:
        """Every request to the ingest side, in order of arrival."""
        return [item for item in self.ledger.requests if item.side == "ingest"]

    def events(self, tenant: str | None = None) -> list[Stored]:
        """What is stored, of one tenant or of all."""
        return self.ledger.events(tenant)

    def tenants(self) -> Counter[str]:
        """How many documents each tenant has."""
        return self.ledger.tenants()

    def busiest(self, tenant: str | None = None, seconds: float = 60.0) -> int:
        """The most requests of a tenant within any stretch of so many seconds."""
        return self.ledger.busiest(tenant, seconds)

    async def _serve(self, side: Side, request: web.BaseRequest) -> web.StreamResponse:
        raw, _, parameters = request.raw_path.partition("?")
        if raw.startswith(controlling.PREFIX):
            return await control.handle(self.state, request)
        path = unquote(raw, errors="replace")
        found = _TENANT.fullmatch(path) if side != "identity" else None
        entry = Request(
            at=time.time(),
            side=side,
            method=request.method,
            path=_TOKEN.sub("/tokens/...", request.raw_path),
            tenant=found[1] if found else "",
            headers=dict(request.headers),
        )
        self.ledger.requests.append(entry)
        began = time.monotonic()
        try:
            answer = await self._answer(request, entry, path, parameters)
            entry.status = answer.status
            return wire.response(answer, self._date(), close=answer.status == 417)
        except StruckError as struck:
            return await self._strike(request, entry, struck)
        except wire.SilenceError as silence:
            entry.fault = str(silence)
            return serving.Silence()
        except (ConnectionError, web.RequestPayloadError):  # gone in the middle of the body: nothing to answer
            return serving.Silence()
        finally:
            entry.seconds = time.monotonic() - began
            self.ledger.ended(entry)

    async def _answer(self, request: web.BaseRequest, entry: Request, path: str, parameters: str) -> Answer:
        # Of several headers of a name, the first counts.
        state, limit, headers = self.state, self.state.body_limit, request.headers
        faults = state.faults[entry.side]
        subject = Subject(entry.tenant)
        await meet(faults, "arrival", subject, entry)
        if state.gate is not None and entry.side != "identity":
            refused = state.gate.check(entry.method, path, headers)
            if refused is not None:
                return refused
        if serving.waits(request) and int(headers.get("Content-Length", "0")) > limit:
            return Answer(417)  # and the end, as nobody can tell whether the body comes after all
        serving.go_on(request)
        # Compression may make a body longer, never twice as long.
        raw, entry.size, _ = await serving.read(request, 2 * limit)
        # Only the ingest side inflates.
        coding = headers.get("Content-Encoding", "") if entry.side == "ingest" else ""
        body = wire.inflate(raw, coding, limit)
        entry.plain = len(body)
        subject = Subject(entry.tenant, body)
        await meet(faults, "read", subject, entry)
        if entry.side == "ingest":
            ready = ingest.check(state, entry.method, path, headers, body)
            return ready if isinstance(ready, Answer) else await self._store(ready, subject, entry)
        await meet(faults, "send", subject, entry)
        if entry.side == "query":
            done = query.answer(state, entry.method, path, parameters, headers)
        else:
            done = identity.answer(state, entry.method, path, parameters, headers, body)
        await meet(faults, "stored", subject, entry, done)
        return done

    async def _store(self, ready: Ready, subject: Subject, entry: Request) -> Answer:
        subject = Subject(subject.dataset, subject.body, [ready.fields])
        await meet(self.faults, "lookup", subject, entry, ready)
        await meet(self.faults, "send", subject, entry, ready)
        fault = self.faults.strike("stored", subject)
        if fault is None:
            return ingest.store(self.state, ready, 200)
        done = ingest.store(self.state, ready, fault.status if fault.action == "answer" else None, fault.copies)
        raise StruckError(fault, done)

    async def _strike(
        self, request: web.BaseRequest, entry: Request, struck: StruckError[Answer | Ready]
    ) -> web.StreamResponse:
        fault, reached = struck.fault, struck.reached
        ended = await striking.end(request, entry, fault, self._closing)
        if ended is not None:
            return ended
        done = reached if isinstance(reached, Answer) else None
        match fault.action:
            case "none" if done is not None:
                answer = done
            case "half":
                return await wire.half(request, done or self._said(fault, entry))
            case _ if isinstance(reached, Ready) and isinstance(fault.code, int):
                words, reason = failing.words(fault), failing.REASONS.get(fault.code, fault.name)
                answer = ingest.unstored(self.state, reached, fault.code, words, reason)
            case _:
                answer = self._said(fault, entry)
        entry.status = answer.status
        return wire.response(answer, self._date())

    def _date(self) -> str | None:
        return self.clock.date() if self.state.dated else None

    def _said(self, fault: Fault, entry: Request) -> Answer:
        return failing.answer(fault, self.state.build, entry.tenant, iso(self.clock.now() + 1.0))
