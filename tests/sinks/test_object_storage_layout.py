"""Where objects go and what they are made of: folders, bytes, signatures, options."""

from __future__ import annotations

import gzip
import hmac
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from far_side import record, run, run_of

from agent.config import load
from agent.errors import ConfigError, Retryable
from agent.ports import Limits
from agent.schema import Secret
from agent.sinks.object_storage import ObjectStorage
from agent.sinks.object_storage.body import unpacked
from agent.sinks.object_storage.layout import folder
from agent.sinks.object_storage.regions import REGIONS
from agent.sinks.object_storage.signing import NO_BODY, path, signed

KEYS: dict[str, Any] = {"bucket": "telemetry", "access_key": Secret("AKIA"), "secret_key": Secret("SECRET")}
DEFAULT = "telemetry/{host}/dt=%Y-%m-%d/hour=%H/"
PUMP = record(host="pump-7")
PAGE = Path(__file__).parents[2] / "docs" / "object-storage.md"
NEW_YEAR = 1704067199999  # 2023-12-31T23:59:59.999Z

# The examples of the S3 API reference, "Signature Calculations for the Authorization Header".
AWS = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
MAY_24 = 1369353600.0


@pytest.mark.parametrize(
    ("prefix", "tz", "tags", "expected"),
    [
        (DEFAULT, "UTC", {"host": "pump-7"}, "telemetry/pump-7/dt=2023-12-31/hour=23/"),
        (DEFAULT, "Asia/Seoul", {"host": "pump-7"}, "telemetry/pump-7/dt=2024-01-01/hour=08/"),
        ("y=%Y/j=%j/m=%M/", "UTC", {}, "y=2023/j=365/m=59/"),
        ("%G-W%V-%u/", "UTC", {}, "2023-W52-7/"),
        ("100%%/{{x}}/", "UTC", {}, "100%/{x}/"),
        ("", "UTC", {}, ""),
        ("{host}/{tags.site}/", "UTC", {"host": "a", "site": "busan"}, "a/busan/"),
        ("{host}/", "UTC", {}, "unknown/"),
        ("{host}/", "UTC", {"host": ".."}, "unknown/"),
        ("{host}/", "UTC", {"host": "a/b\\c\nd"}, "a-b-c-d/"),
        ("{host}/", "UTC", {"host": "%Y{tags.site}"}, "%Y{tags.site}/"),
        ("{host}/", "UTC", {"host": "x" * 500}, "x" * 100 + "/"),
    ],
)
def test_a_folder_is_the_time_and_tags_of_the_newest_record(
    prefix: str, tz: str, tags: dict[str, str], expected: str
) -> None:
    assert folder(prefix, tz, NEW_YEAR, record(**tags)) == expected


@pytest.mark.parametrize("value", ["가" * 500, "🏭" * 500, "/\\\x00" * 300])
def test_no_tag_makes_a_key_longer_than_a_store_takes(value: str) -> None:
    sink = ObjectStorage(**KEYS, prefix="{host}/{tags.a}/{tags.b}/{tags.c}/{tags.d}/dt=%Y-%m-%d/")
    newest = record(**dict.fromkeys(("host", "a", "b", "c", "d"), value))
    stored, _ = unpacked(sink.pack("0123456789abcdef" * 4, NEW_YEAR, sink.encode(run_of([newest]))))
    assert 256 < len(stored.key.encode()) <= 1024
    assert stored.key.count("/") == 6


def test_the_newest_record_is_the_last_one() -> None:
    sink = ObjectStorage(**KEYS)
    records = [record(b'{"v":"\\n"}', host="first"), record(b'{"tags":{"host":"inside"}}', host="last")]
    stored, _ = unpacked(sink.pack("batch", NEW_YEAR, sink.encode(run_of(records))))
    assert stored.key == "telemetry/last/dt=2023-12-31/hour=23/batch.ndjson.gz"


def test_the_same_records_are_the_same_object_to_the_byte() -> None:
    sink = ObjectStorage(**KEYS)
    records = [record(b'{"v":%d}' % n) for n in range(500)]
    first, second = (sink.pack("batch", NEW_YEAR, sink.encode(run_of(records))) for _ in range(2))
    assert first == second
    _, content = unpacked(first)
    assert content[:4] == b"\x1f\x8b\x08\x00"  # gzip, without a name
    assert content[4:8] == bytes(4)  # and without a time
    assert gzip.decompress(content).splitlines() == records


def test_a_batch_is_large_and_takes_its_time_and_never_more_than_one_goes() -> None:
    assert ObjectStorage(**KEYS).limits == Limits(records=50_000, bytes=4 << 20, in_flight=1, linger=300.0)


def authorization(method: str, target: str, sha: str, **headers: str) -> str:
    url = f"https://examplebucket.s3.amazonaws.com{target}"
    return signed(method, url, headers, sha256=sha, now=MAY_24, region="us-east-1", **AWS)["Authorization"]


def test_a_signature_is_the_one_that_amazon_s_pages_come_to() -> None:
    got = authorization("GET", "/test.txt", NO_BODY, Range="bytes=0-9")
    assert got == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    put = {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    # Its key is `test$file.text`.
    got = authorization("PUT", "/test%24file.text", sha256(b"Welcome to Amazon S3.").hexdigest(), **put)
    assert got.endswith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("dt=2026-11-22/a.gz", "/telemetry/dt%3D2026-11-22/a.gz"),
        ("-_.~/", "/telemetry/-_.~/"),
        ("a b+c%d", "/telemetry/a%20b%2Bc%25d"),
        ("한/é", "/telemetry/%ED%95%9C/%C3%A9"),
        ("!*'();:@&$,?#[]", "/telemetry/%21%2A%27%28%29%3B%3A%40%26%24%2C%3F%23%5B%5D"),
    ],
)
def test_a_signature_is_over_the_target_as_it_is_sent(key: str, target: str) -> None:
    assert path("telemetry", key) == target
    names = "host;x-amz-content-sha256;x-amz-date"
    host = f"host:examplebucket.s3.amazonaws.com\nx-amz-content-sha256:{NO_BODY}\nx-amz-date:20130524T000000Z\n"
    canonical = f"PUT\n{target}\n\n{host}\n{names}\n{NO_BODY}"
    text = f"AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hashed(canonical)}"
    made = ("AWS4" + AWS["secret_key"]).encode()
    for part in ("20130524", "us-east-1", "s3", "aws4_request"):
        made = hmac.new(made, part.encode(), "sha256").digest()
    expected = hmac.new(made, text.encode(), "sha256").hexdigest()
    assert authorization("PUT", target, NO_BODY).endswith(f"Signature={expected}")


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({"bucket": "No"}, "bucket", "lower-case"),
        ({"bucket": "a/b"}, "bucket", "lower-case"),
        ({"access_key": Secret()}, "access_key", "is empty"),
        ({"secret_key": Secret("")}, "secret_key", "is empty"),
        ({"region": "kr"}, "region", "give `url`, too"),
        ({"region": "a b", "url": "https://s3.example.org"}, "region", "kr-standard"),
        ({"url": "http://s3.example.org"}, "url", "would show the secret"),
        ({"url": "https://s3.example.org/bucket"}, "url", "the bucket is added"),
        ({"url": "s3.example.org"}, "url", "expected a URL"),
        ({"tz": "Seoul"}, "tz", "no such time zone"),
        ({"tz": "../etc/passwd"}, "tz", "no such time zone"),
        ({"prefix": "{topic}/"}, "prefix", "{topic} is none of its places"),
        ({"prefix": "{tags.}/"}, "prefix", "{tags.} is none of its places"),
        ({"prefix": "{host/"}, "prefix", "a single {"),
        ({"prefix": "%D/"}, "prefix", "%D is no part of a time"),
        ({"prefix": "x%"}, "prefix", "% is no part of a time"),
        ({"prefix": "/x/"}, "prefix", "a name without characters"),
        ({"prefix": "x//y"}, "prefix", "a name without characters"),
        ({"prefix": "x/../y/"}, "prefix", "get lost on the way"),
        ({"prefix": "x\\y"}, "prefix", "backslash"),
        ({"prefix": "é" * 300}, "prefix", "longer than 512 bytes"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(options: dict[str, Any], name: str, text: str) -> None:
    found = ObjectStorage(**{**KEYS, **options}).problems()
    assert [(option, text in said) for option, said in found] == [(name, True)]


@pytest.mark.parametrize(
    "options", [{}, {"region": "us-standard"}, {"region": "eu-west-1", "url": "https://s3.eu-west-1.amazonaws.com/"}]
)
def test_a_bucket_and_keys_are_all_it_takes(options: dict[str, Any]) -> None:
    sink = ObjectStorage(**{**KEYS, **options})
    assert sink.problems() == []
    assert sink.warnings() == []


def test_a_folder_that_readers_pass_over_is_doubted() -> None:
    assert [name for name, _ in ObjectStorage(**KEYS, prefix="x/_raw/").warnings()] == ["prefix"]


TOML = """
[collectors.host]
type = "host"

[sinks.bucket]
type = "object_storage"
bucket = "telemetry"
access_key = "AKIA"
secret_key = "SECRET"
"""


def test_without_botocore_the_check_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(TOML)
    load([config], {})
    monkeypatch.setitem(sys.modules, "botocore", None)  # what Python has for a package that cannot be imported
    with pytest.raises(ConfigError) as refused:
        load([config], {})
    (problem,) = refused.value.problems
    assert problem.where.endswith("agent.toml:6 sinks.bucket.type")
    assert 'pip install "botocore' in problem.text

    async def opening() -> None:
        async with ObjectStorage(**KEYS).open():
            pass

    with pytest.raises(Retryable, match="pip install") as told:
        run(opening())
    assert told.value.operator


def test_what_the_page_shows_is_what_there_is(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    for name in ("access", "secret"):
        (tmp_path / name).write_text("key")
        block = block.replace(f"/etc/telemetry-agent/ncloud-{name}.key", str(tmp_path / name))
    config = tmp_path / "agent.toml"
    config.write_text('[collectors.host]\ntype = "host"\n' + block)
    sink = load([config], {}).sinks["bucket"].plugin
    assert isinstance(sink, ObjectStorage)
    stored, _ = unpacked(sink.pack("078e5f5a0e257ee2-14-53-9c77a58b", 1795375445000, sink.encode(run_of([PUMP]))))
    assert f"\n{stored.key}\n" in page
    for region, url in REGIONS.items():
        assert f"`{region}`" in page
        assert f"`{url}`" in page
