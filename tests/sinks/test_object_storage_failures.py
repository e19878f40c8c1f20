"""What an object store's answers mean for the data, over real sockets and as a table."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
from far_side import Act, FarSide, answer, far_side, hang, record, reset, run, run_of

from agent.delivery.episode import describe
from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled, TooLarge, Unverified
from agent.http import Answer
from agent.ports import Parcel
from agent.schema import Secret
from agent.sinks.object_storage import ObjectStorage
from agent.sinks.object_storage.answers import meaning

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OK = answer(200, headers={"ETag": '"d41d8cd9"'})
REGION = "kr-standard"


def error(code: str, message: str = "", **more: str) -> bytes:
    rest = "".join(f"<{name}>{value}</{name}>" for name, value in more.items())
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<Error>'
    return f"{head}<Code>{code}</Code><Message>{message}</Message>{rest}</Error>".encode()


def refused(status: int, code: str, *, date: float | None = None) -> Act:
    headers = {"Content-Type": "application/xml"}
    if date is not None:
        headers["Date"] = formatdate(date, usegmt=True)
    return answer(status, error(code, f"told of {SECRET}"), headers)


def sink_of(side: FarSide, **options: Any) -> ObjectStorage:
    keys = {"access_key": Secret("AKIAIOSFODNN7EXAMPLE"), "secret_key": Secret(SECRET)}
    return ObjectStorage(**{"url": side.url, "bucket": "telemetry", **keys, **options})


def parcel(sink: ObjectStorage) -> Parcel:
    return Parcel("the-batch", sink.pack("the-batch", 1700000000500, sink.encode(run_of([record()]))), 1)


async def send(sink: ObjectStorage) -> None:
    async with sink.open() as deliver:
        await deliver(parcel(sink))


KEPT: list[tuple[int, bytes, Mapping[str, str], type[DeliveryError], str]] = [
    (404, error("NoSuchBucket"), {}, Retryable, "no such bucket: create it, or correct `bucket`"),
    (400, error("InvalidBucketName"), {}, Retryable, "correct `bucket`"),
    (400, error("KeyTooLongError"), {}, Retryable, "shorten `prefix`"),
    (403, error("AccessDenied", "Access Denied"), {}, AuthExpired, "may not do this in the bucket.*Access Denied"),
    (403, error("InvalidAccessKeyId"), {}, AuthExpired, "no such access key"),
    (403, error("SignatureDoesNotMatch"), {}, AuthExpired, "the secret key is not that of the access key"),
    (403, error("AllAccessDisabled"), {}, AuthExpired, "closed"),
    (400, error("ExpiredToken"), {}, AuthExpired, "not accepted"),
    (403, error("RequestTimeTooSkewed"), {}, Retryable, "the clocks differ too much"),
    (400, error("EntityTooLarge"), {}, TooLarge, "too large"),
    (413, b"", {}, TooLarge, "too large"),
    (503, error("SlowDown", "Please reduce your request rate"), {}, Throttled, "asked to go slower.*reduce"),
    (503, error("ServiceUnavailable"), {}, Retryable, "not available"),
    (503, error("ServiceUnavailable"), {"retry-after": "7"}, Throttled, "asked to go slower"),
    (429, b"", {}, Throttled, "asked to go slower"),
    (409, error("OperationAborted"), {}, Retryable, "another request for the same object"),
    (400, error("RequestTimeout"), {}, Retryable, "the body came too slowly"),
    (400, error("BadDigest"), {}, Retryable, "did not arrive as it was sent"),
    (400, error("XAmzContentSHA256Mismatch"), {}, Retryable, "did not arrive as it was sent"),
    (500, error("InternalError", "We encountered an internal error"), {}, Retryable, "500 .*internal error"),
    (502, b"<html>Bad gateway</html>", {}, Retryable, "502 .*Bad gateway"),
    (507, b"", {}, Retryable, "507"),
    (
        400,
        error("InvalidRequest", "something new"),
        {},
        Retryable,
        "refused the request.*InvalidRequest: something new",
    ),
    (405, error("MethodNotAllowed"), {}, Retryable, "405 .*MethodNotAllowed"),
    (403, b"blocked by the proxy", {}, AuthExpired, "403 .*blocked by the proxy"),
    (418, b"\xff\x00 tea", {}, Retryable, "418"),
    (
        301,
        error("PermanentRedirect", "elsewhere", Endpoint="telemetry.us.object.ncloudstorage.com"),
        {"x-amz-bucket-region": "us-standard"},
        Retryable,
        r"the bucket is in us-standard at telemetry.us.object.ncloudstorage.com: set `region` \(and `url`\)",
    ),
    (307, b"", {}, Retryable, "the bucket is in another region, it does not say which"),
    (
        400,
        error("AuthorizationHeaderMalformed", "the region is wrong", Region="sg-standard"),
        {},
        Retryable,
        "the bucket is in sg-standard: set `region`",
    ),
]
FOR_A_PERSON = {301, 307, 404, 405, 418}


@pytest.mark.parametrize(("status", "body", "headers", "kind", "text"), KEPT)
def test_no_answer_refuses_a_record(
    status: int, body: bytes, headers: Mapping[str, str], kind: type[DeliveryError], text: str
) -> None:
    found = meaning(Answer(status, headers, body), region=REGION)
    assert type(found) is kind
    assert re.search(text, describe(found))
    assert found.status == status
    if status in FOR_A_PERSON:
        assert isinstance(found, Retryable)
        assert found.operator


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_is_none(status: int) -> None:
    assert meaning(Answer(status, {}, b""), region=REGION) is None


def test_a_pause_is_as_long_as_was_asked_for() -> None:
    slower = meaning(Answer(503, {"retry-after": "7"}, error("SlowDown")), region=REGION)
    assert isinstance(slower, Throttled)
    assert slower.retry_after == 7


@pytest.mark.parametrize("code", ["InternalError", "BadDigest"])
def test_what_may_be_one_object_s_own_fault_makes_it_a_suspect(code: str) -> None:
    found = meaning(Answer(500 if code == "InternalError" else 400, {}, error(code)), region=REGION)
    assert isinstance(found, Retryable)
    assert found.ambiguous
    assert not found.operator


def test_a_request_says_what_its_body_is_to_be_checked_by() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            await send(sink_of(side))
            (request,) = side.requests
            assert request.headers["content-md5"] == b64encode(md5(request.body).digest()).decode()
            assert request.headers["x-amz-content-sha256"] == sha256(request.body).hexdigest()
            assert request.headers["content-length"] == str(len(request.body))
            signed = "content-md5;content-type;host;x-amz-content-sha256;x-amz-date"
            assert f"SignedHeaders={signed}," in request.headers["authorization"]
            assert "/kr-standard/s3/aws4_request" in request.headers["authorization"]

    run(main())


def test_the_target_is_sent_as_it_was_signed() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            await send(sink_of(side, prefix="a b/=é+%%2F/"))
            assert side.requests[0].target == "/telemetry/a%20b/%3D%C3%A9%2B%252F/the-batch.ndjson.gz"

    run(main())


@pytest.mark.parametrize("behind", [3600, -3600])
def test_a_wrong_clock_here_costs_one_request(behind: float) -> None:
    async def main() -> None:
        there = time.time() + behind
        async with far_side(refused(403, "RequestTimeTooSkewed", date=there), OK) as side:
            sink = sink_of(side)
            async with sink.open() as deliver:
                await deliver(parcel(sink))
                await deliver(parcel(sink))
            assert len(side.requests) == 3
            for request in side.requests[1:]:
                stamp = time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
                assert abs(time.mktime(stamp) - time.timezone - there) < 30

    run(main())


def test_a_clock_that_agrees_is_not_asked_for_twice() -> None:
    async def main() -> None:
        async with far_side(refused(403, "RequestTimeTooSkewed", date=time.time())) as side:
            with pytest.raises(Retryable, match="set this one") as told:
                await send(sink_of(side))
            assert told.value.operator
            assert len(side.requests) == 1

    run(main())


def test_changed_keys_are_tried_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "secret"
        path.write_text("the-former-secret")
        async with far_side(refused(403, "SignatureDoesNotMatch")) as side:
            sink = sink_of(side, secret_key=Secret(path=str(path)))
            async with sink.open() as deliver:
                for after in (1, 3, 4):  # the same key, another one, the same one again
                    with pytest.raises(AuthExpired):
                        await deliver(parcel(sink))
                    assert len(side.requests) == after
                    path.write_text("another-secret")

    run(main())


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_without_an_etag_is_no_store_s_and_the_object_is_kept(status: int) -> None:
    async def main() -> None:
        async with far_side(answer(status, b"<html>Please log in</html>" if status != 204 else b"")) as side:
            with pytest.raises(Retryable, match=f"answered {status} without the ETag") as told:
                await send(sink_of(side))
            assert told.value.operator

    run(main())


def test_a_redirect_is_not_followed() -> None:
    async def main() -> None:
        async with far_side(OK) as other:
            moved = answer(307, error("TemporaryRedirect"), {"Location": f"{other.url}/telemetry/x"})
            async with far_side(moved) as side:
                with pytest.raises(Retryable, match="another region"):
                    await send(sink_of(side))
            assert other.requests == []

    run(main())


@pytest.mark.parametrize("act", [hang, reset], ids=["hang", "reset"])
def test_an_answer_that_does_not_come_leaves_it_open_whether_the_object_is_there(act: Act) -> None:
    async def main() -> None:
        async with far_side(act) as side:
            with pytest.raises(Retryable) as told:
                await send(sink_of(side, timeout=0.2, connect_timeout=0.1))
            assert told.value.ambiguous

    run(main())


def test_no_answer_brings_the_keys_to_light() -> None:
    async def main() -> None:
        async with far_side(refused(403, "AccessDenied")) as side:
            sink = sink_of(side)
            with pytest.raises(AuthExpired) as told:
                await send(sink)
            assert SECRET not in f"{told.value} {told.value.answer} {sink!r}"
            assert "told of ***" in told.value.answer

    run(main())


def test_verifying_compares_what_came_back() -> None:
    async def main() -> None:
        async with far_side(OK, answer(200, b"something else"), answer(204)) as side:
            with pytest.raises(Unverified, match="came back as 14 other bytes"):
                await sink_of(side).verify(lambda text: None)
            assert [each.line.split()[0] for each in side.requests] == ["PUT", "GET"]

    run(main())
