"""Sending to Obsrv over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from far_side import answer, far_side, hang, record, reset, run, run_of, said, until

from agent.errors import AuthExpired, Rejected, Retryable, Throttled, TooLarge
from agent.ports import Parcel
from agent.schema import Secret
from agent.sinks.obsrv import Obsrv
from agent.sinks.obsrv import sink as module

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJyb2xlcyI6WyJpbmdlc3RvciJdfQ.c2lnbmF0dXJl"
OK = said(200, params={"status": "SUCCESS", "resmsgid": "r"}, responseCode="OK", result={"message": "fine"})
REFUSED = said(401, params={"resmsgid": "r"}, error={"code": "UNAUTHORIZED ACCESS", "message": f"bad token {JWT}"})


def parcel(sink: Obsrv, *records: bytes) -> Parcel:
    data = sink.encode(run_of(records or [record()]))
    return Parcel("the-batch", sink.pack("the-batch", 1700000000500, data), max(1, len(records)))


async def send(sink: Obsrv) -> None:
    async with sink.open() as deliver:
        await deliver(parcel(sink))


def test_a_batch_is_one_request() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            sink = Obsrv(url=side.url + "/base/", dataset="fleet telemetry/ä?", token=Secret(JWT))
            await send(sink)
            (request,) = side.requests
            assert request.line == "POST /base/v2/data/in/fleet%20telemetry%2F%C3%A4%3F HTTP/1.1"
            assert request.headers["authorization"] == f"Bearer {JWT}"
            assert request.headers["content-type"] == "application/json"
            assert request.headers["content-encoding"] == "gzip"
            body = json.loads(gzip.decompress(request.body))
            assert body["params"] == {"msgid": "the-batch"}
            assert [each["fields"] for each in body["data"]] == [{"v": 1}]

    run(main())


def test_without_token_and_compression_there_are_no_such_headers() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            await send(Obsrv(url=side.url, dataset="d", gzip=False))
            (request,) = side.requests
            assert {"authorization", "content-encoding"}.isdisjoint(request.headers)
            assert json.loads(request.body)["ver"] == "v2"

    run(main())


def test_four_requests_share_connections_that_are_kept() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            sink = Obsrv(url=side.url, dataset="d")
            assert sink.limits.in_flight == 4
            async with sink.open() as deliver:
                for _ in range(3):
                    await asyncio.gather(*(deliver(parcel(sink)) for _ in range(4)))
            assert len(side.requests) == 12
            assert side.connections == 4

    run(main())


def test_an_idle_connection_is_given_up_before_obsrv_does_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.KEEPALIVE < 5
    monkeypatch.setattr(module, "KEEPALIVE", 0.1)

    async def main() -> None:
        async with far_side(OK) as side:
            sink = Obsrv(url=side.url, dataset="d")
            async with sink.open() as deliver:
                await deliver(parcel(sink))
                await until(lambda: side.open_now == 0)

    run(main())


@pytest.mark.parametrize(
    ("act", "expect", "marks"),
    [
        (said(400, error={"code": "DATA_INGESTION_INVALID_INPUT"}), Rejected, set()),
        (said(404, error={"code": "DATASET_NOT_FOUND"}), Retryable, {"operator"}),
        (said(500, id="api.data.in", error={"code": 10}), TooLarge, set()),
        (said(500, id="api.data.in", error={"code": "ECONNREFUSED"}), Retryable, {"ambiguous"}),
        (answer(200, b""), Retryable, {"ambiguous"}),
        (answer(200, b"<html>log in</html>"), Retryable, {"ambiguous"}),
        (answer(503, b"", {"Retry-After": "9"}), Throttled, set()),
        (answer(308, b"", {"Location": "https://elsewhere"}), Retryable, {"operator"}),
        (reset, Retryable, {"ambiguous"}),
        (hang, Retryable, {"ambiguous"}),
    ],
)
def test_an_answer_becomes_what_delivery_has_to_know(act: Any, expect: type[Exception], marks: set[str]) -> None:
    async def main() -> None:
        async with far_side(act) as side:
            with pytest.raises(expect) as caught:
                await send(Obsrv(url=side.url, dataset="d", timeout=0.3, connect_timeout=0.3))
            assert type(caught.value) is expect
            assert {name for name in ("ambiguous", "operator") if getattr(caught.value, name, False)} == marks
            assert getattr(caught.value, "retry_after", 9.0) == 9.0

    run(main())


def test_a_resend_is_the_same_to_the_byte() -> None:
    async def main() -> None:
        async with far_side(reset, answer(500), OK) as side:
            for attempt in range(3):
                sink = Obsrv(url=side.url, dataset="d", token=Secret(JWT))
                if attempt < 2:
                    with pytest.raises(Retryable):
                        await send(sink)
                else:
                    await send(sink)
            assert len({request.body for request in side.requests}) == 1
            assert len(side.requests) == 3

    run(main())


def test_a_refused_token_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old.old.old\n")

    async def main() -> None:
        async with far_side(OK, REFUSED, OK) as side:
            sink = Obsrv(url=side.url, dataset="d", token=Secret(path=str(file)))
            async with sink.open() as deliver:
                await deliver(parcel(sink))
                file.write_text(JWT)
                await deliver(parcel(sink))
            sent = [request.headers["authorization"] for request in side.requests]
            assert sent == ["Bearer old.old.old", "Bearer old.old.old", f"Bearer {JWT}"]

    run(main())


def test_a_token_never_shows() -> None:
    async def main() -> None:
        async with far_side(REFUSED) as side:
            sink = Obsrv(url=side.url, dataset="d", token=Secret(JWT))
            with pytest.raises(AuthExpired) as caught:
                await send(sink)
            assert "bad token ***" in caught.value.reason
            assert "bad token ***" in caught.value.answer
            assert JWT not in f"{caught.value!r} {caught.value.reason} {caught.value.answer} {sink!r}"

    run(main())


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak.x.y", "naïve.x.y", "\x00"])
def test_a_token_that_no_header_can_carry_is_not_sent(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)

    async def main() -> None:
        async with far_side(OK) as side:
            with pytest.raises(AuthExpired) as caught:
                await send(Obsrv(url=side.url, dataset="d", token=Secret(path=str(file))))
            assert text.strip() == "" or text not in caught.value.reason
            assert side.requests == []

    run(main())


def test_a_token_file_that_is_missing_or_binary_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "token"

    async def main() -> None:
        async with far_side(OK) as side:
            sink = Obsrv(url=side.url, dataset="d", token=Secret(path=str(file)))
            async with sink.open() as deliver:
                with pytest.raises(AuthExpired, match="cannot be read"):
                    await deliver(parcel(sink))
                file.write_bytes(b"\xff\xfe")
                with pytest.raises(AuthExpired, match="cannot be read"):
                    await deliver(parcel(sink))
                file.write_text(JWT)
                await deliver(parcel(sink))
            assert len(side.requests) == 1

    run(main())


def test_no_answer_to_a_token_that_is_no_jwt_names_the_likely_cause() -> None:
    async def main() -> None:
        async with far_side(hang) as side:
            for token, named in (("opaque-token", True), (JWT, False)):
                with pytest.raises(Retryable) as caught:
                    await send(Obsrv(url=side.url, dataset="d", token=Secret(token), timeout=0.2, connect_timeout=0.2))
                assert caught.value.ambiguous
                assert ("no JWT" in caught.value.reason) is named
                assert token not in caught.value.reason

    run(main())
