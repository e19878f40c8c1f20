"""The gateway's client over real sockets: signed anew at every try, over the bytes that arrive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from far_side import Act, Request, answer, far_side, hang, reset, run, said
from structlog.testing import capture_logs

from agent.errors import AuthExpired, Retryable
from agent.ncloud import CLOUD_INSIGHT, Gateway, GatewayOptions, gateway_problems, open_gateway
from agent.schema import Secret

ACCESS, SECRET = "AK_TEST_17", "SK_TEST_4711"
OK = said(200, result="success")
REFUSED = said(401, error={"errorCode": "200", "message": "Authentication Failed", "details": f"{ACCESS} {SECRET}"})
NO_RIGHT = said(401, error={"errorCode": "210", "message": "Permission Denied"})
TARGET = "/cw_fea/real/cw/api/schema?prodName=Custom/My%2FProduct&a=&b"


def options(url: str, **given: Any) -> GatewayOptions:
    return GatewayOptions(**{"access_key": Secret(ACCESS), "secret_key": Secret(SECRET), "url": url, **given})


async def call(url: str, target: str = TARGET, times: int = 1, **given: Any) -> Gateway:
    async with open_gateway(options(url, **given), CLOUD_INSIGHT, name="test") as gateway:
        for _ in range(times):
            await gateway.call("POST", target, b"{}")
    return gateway


def signed_by(request: Request, access: str = ACCESS, secret: str = SECRET) -> bool:
    """Whether what arrived is signed, worked out from the bytes of the request line."""
    method, target, _ = request.line.split(" ")
    text = f"{method} {target}\n{request.headers['x-ncp-apigw-timestamp']}\n{access}"
    wanted = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return (request.headers["x-ncp-iam-access-key"], request.headers["x-ncp-apigw-signature-v2"]) == (access, wanted)


def far_clock(act: Act, ahead: float) -> Act:
    """The same answer with the Date of another clock."""
    return dated(act, lambda: formatdate(time.time() + ahead, usegmt=True))


def dated(act: Act, date: Callable[[], str]) -> Act:
    class Writer:
        def __init__(self, writer: Any) -> None:
            self._writer = writer
            self.drain = writer.drain

        def write(self, data: bytes) -> None:
            self._writer.write(data.replace(b"\r\n", b"\r\nDate: %b\r\n" % date().encode(), 1))

    async def dating(writer: Any) -> None:
        await act(Writer(writer))  # type: ignore[arg-type]

    return dating


@pytest.mark.parametrize("target", [TARGET, "/cw_collector/real/data", "/a//b/../c?d=e+f%20g&h=2025-03-19T00:00:00"])
def test_the_signature_is_of_the_bytes_that_arrive(target: str) -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            await call(side.url, target)
            (request,) = side.requests
            assert request.target == target
            assert signed_by(request)
            assert abs(int(request.headers["x-ncp-apigw-timestamp"]) - time.time() * 1000) < 5000
            assert request.headers["content-type"] == "application/json"
            assert request.headers["accept"] == "application/json"
            assert not {"x-ncp-region_no", "x-ncp-region_code", "x-ncp-dmn_cd"} & request.headers.keys()

    run(main())


def test_every_try_is_signed_anew() -> None:
    async def main() -> None:
        async with far_side(answer(503), reset, OK) as side:
            async with open_gateway(options(side.url), CLOUD_INSIGHT, name="test") as gateway:
                for _ in range(2):
                    with pytest.raises(Retryable):
                        await gateway.call("POST", TARGET, b"{}")
                await gateway.call("POST", TARGET, b"{}")
            assert all(signed_by(request) for request in side.requests)
            assert len({request.headers["x-ncp-apigw-timestamp"] for request in side.requests}) == 3
            assert len({request.headers["x-ncp-apigw-signature-v2"] for request in side.requests}) == 3

    run(main())


@pytest.mark.parametrize("ahead", [600, -600])
def test_a_refusal_tells_the_time_and_the_next_try_has_it(ahead: float) -> None:
    async def main() -> None:
        async with far_side(far_clock(REFUSED, ahead), OK) as side:
            gateway = await call(side.url)
            first, second = side.requests
            assert abs(gateway.clock.offset - ahead) < 3
            stamps = [int(request.headers["x-ncp-apigw-timestamp"]) / 1000 for request in (first, second)]
            assert abs(stamps[1] - stamps[0] - ahead) < 3
            assert signed_by(second)

    run(main())


def test_a_clock_that_agrees_is_no_reason_to_try_again() -> None:
    async def main() -> None:
        async with far_side(far_clock(REFUSED, 2)) as side:
            with pytest.raises(AuthExpired):
                await call(side.url)
            assert len(side.requests) == 1

    run(main())


def test_a_key_that_may_not_says_nothing_about_the_clock() -> None:
    async def main() -> None:
        async with far_side(far_clock(NO_RIGHT, 600)) as side:
            with pytest.raises(AuthExpired, match="no right"):
                await call(side.url)
            assert len(side.requests) == 1

    run(main())


@pytest.mark.parametrize("refusal", [REFUSED, NO_RIGHT, said(403), answer(401, b"<html>no</html>")])
def test_keys_that_changed_in_their_files_are_tried_at_once_and_told_in_one_line(refusal: Act, tmp_path: Path) -> None:
    async def main() -> None:
        files = {name: tmp_path / name for name in ("access_key", "secret_key")}
        for file in files.values():
            file.write_text(f"OLD_{file.name}")
        async with far_side(OK, refusal, OK) as side:
            secrets = {name: Secret(path=str(file)) for name, file in files.items()}
            async with open_gateway(options(side.url, **secrets), CLOUD_INSIGHT, name="test") as gateway:
                with capture_logs() as logs:
                    await gateway.call("POST", TARGET, b"{}")
                    for file in files.values():
                        file.write_text(f"NEW_{file.name}\n")
                    await gateway.call("POST", TARGET, b"{}")
                    await gateway.call("POST", TARGET, b"{}")
            assert [line["event"] for line in logs] == ["credentials read again, they have changed"]
            assert "NEW_" not in str(logs)
            assert [signed_by(each, "OLD_access_key", "OLD_secret_key") for each in side.requests] == [
                True,
                True,
                False,
                False,
            ]
            assert all(signed_by(each, "NEW_access_key", "NEW_secret_key") for each in side.requests[2:])

    run(main())


def test_keys_that_did_not_change_are_not_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "secret"
        file.write_text(SECRET)
        async with far_side(REFUSED) as side:
            with pytest.raises(AuthExpired), capture_logs() as logs:
                await call(side.url, secret_key=Secret(path=str(file)))
            assert (len(side.requests), logs) == (1, [])

    run(main())


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "naïve"])
def test_keys_that_no_header_can_carry_are_not_sent(text: str, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "key"
        file.write_text(text)
        async with far_side(OK) as side:
            with pytest.raises(AuthExpired, match="the access key is empty or holds"):
                await call(side.url, access_key=Secret(path=str(file)))
            file.unlink()
            with pytest.raises(AuthExpired, match="the keys cannot be read: FileNotFoundError"):
                await call(side.url, access_key=Secret(path=str(file)))
            assert side.requests == []

    run(main())


def test_keys_and_signatures_never_show() -> None:
    async def main() -> None:
        async with far_side(REFUSED, hang) as side:
            with pytest.raises(AuthExpired) as refused:
                await call(side.url)
            with pytest.raises(Retryable) as silent:
                await call(side.url, timeout=0.2, connect_timeout=0.2)
            signature = side.requests[0].headers["x-ncp-apigw-signature-v2"]
            for error in (refused.value, silent.value):
                shown = f"{error!r} {error.reason} {error.answer} {error.__cause__!r}"
                assert not any(secret in shown for secret in (ACCESS, SECRET, signature))
            assert "*** ***" in refused.value.reason

    run(main())


@pytest.mark.parametrize(("given", "sent"), [(7, "7"), ("SGN", "7"), ("jpn", "8"), ("12", "12")])
def test_the_region_is_named_where_it_is_given(given: int | str, sent: str) -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            await call(side.url, region_no=given, region_code="SGN", domain_code="PUB")
            (request,) = side.requests
            named = [request.headers[name] for name in ("x-ncp-region_no", "x-ncp-region_code", "x-ncp-dmn_cd")]
            assert named == [sent, "SGN", "PUB"]

    run(main())


def test_the_zone_chooses_the_host() -> None:
    def base(**given: Any) -> str:
        return GatewayOptions(access_key=Secret("a"), secret_key=Secret("b"), **given).base(CLOUD_INSIGHT)

    assert base() == "https://cw.apigw.ntruss.com"
    assert base(zone="gov") == "https://cw.apigw.gov-ntruss.com"
    assert base(zone="fin") == "https://cw.apigw.fin-ntruss.com"
    assert base(zone="fin", url="https://elsewhere.example/") == "https://elsewhere.example"


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"url": "http://cw.example.net"}, "url"),
        ({"url": "https://cw.example.net/base"}, "url"),
        ({"region_no": "Singapore"}, "region_no"),
        ({"region_code": "K R"}, "region_code"),
        ({"domain_code": ""}, "domain_code"),
        ({"connect_timeout": 60.0}, "connect_timeout"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, Any], option: str) -> None:
    problems = gateway_problems(GatewayOptions(access_key=Secret("a"), secret_key=Secret("b"), **given), CLOUD_INSIGHT)
    assert [name for name, _ in problems] == [option]
