"""Objects in a real S3-compatible store, which checks the signature of every request and the rights of every key."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from far_side import record, run, run_of
from object_store import BUCKET, ObjectStore, object_store

from agent.errors import AuthExpired, Retryable, Unverified
from agent.ports import Parcel
from agent.record import batch_id
from agent.schema import Secret
from agent.sinks.object_storage import ObjectStorage

HOUR = "telemetry/pump-7/dt=2023-11-14/hour=22/"
NEWEST = 1700000000500  # 2023-11-14T22:13:20.5Z
NAME = batch_id(7, 40, 2, 0xA1B2C3D4)


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(running: ObjectStore) -> ObjectStore:
    running.clear()
    return running


def sink_of(store: ObjectStore, **options: Any) -> ObjectStorage:
    keys = {"access_key": Secret(store.access), "secret_key": Secret(store.secret)}
    return ObjectStorage(**{"url": store.url, "bucket": BUCKET, **keys, **options})


def parcel(sink: ObjectStorage, *records: bytes) -> Parcel:
    data = sink.encode(run_of(records))
    return Parcel(NAME, sink.pack(NAME, NEWEST, data), len(records))


async def send(sink: ObjectStorage, *parcels: Parcel) -> None:
    async with sink.open() as deliver:
        for each in parcels:
            await deliver(each)


def test_a_batch_is_one_object_of_lines_named_by_the_batch(store: ObjectStore) -> None:
    sink = sink_of(store)
    records = [record(b'{"v":1}', host="pump-7"), record('{"v":"é"}'.encode(), host="pump-7")]
    run(send(sink, parcel(sink, *records)))
    (key,) = store.names()
    assert key == f"{HOUR}{NAME}.ndjson.gz"
    found = store.get(key)
    assert gzip.decompress(found["Body"]) == b"".join(each + b"\n" for each in records)
    assert found["ContentType"] == "application/x-ndjson"
    # A reader that saw one would unpack, and hand plain text to whoever goes by the name's .gz.
    assert "ContentEncoding" not in found
    assert found["ETag"] == f'"{md5(found["Body"]).hexdigest()}"'


def test_uncompressed_objects_are_plain_lines(store: ObjectStore) -> None:
    sink = sink_of(store, gzip=False)
    run(send(sink, parcel(sink, record(host="pump-7"))))
    assert store.names() == [f"{HOUR}{NAME}.ndjson"]
    assert json.loads(store.get(f"{HOUR}{NAME}.ndjson")["Body"])["fields"] == {"v": 1}


def test_a_resend_overwrites_the_object_with_itself(store: ObjectStore) -> None:
    sink = sink_of(store)
    run(send(sink, parcel(sink, record(host="pump-7"))))
    before = store.get(store.names()[0])["Body"]
    run(send(sink, parcel(sink, record(host="pump-7"))))
    assert [store.get(key)["Body"] for key in store.names()] == [before]


@pytest.mark.parametrize(
    ("prefix", "host", "folder"),
    [
        ("", "", ""),
        ("a b+c&d=e;f,g:h@i!j*k(l)m'n\"o/", "", "a b+c&d=e;f,g:h@i!j*k(l)m'n\"o/"),
        ("percent=%%41/tilde~/", "", "percent=%41/tilde~/"),
        ("한국/é/ß€/", "", "한국/é/ß€/"),
        ("[x]{{y}}<z>?#/{host}/", "pump #7?", "[x]{y}<z>?#/pump #7?/"),
        ("h={host}/", "../../etc", "h=..-..-etc/"),
    ],
)
def test_a_key_arrives_as_it_is_whatever_its_characters(
    store: ObjectStore, prefix: str, host: str, folder: str
) -> None:
    sink = sink_of(store, prefix=prefix)
    assert sink.problems() == []
    run(send(sink, parcel(sink, record(host=host))))
    assert store.names() == [f"{folder}{NAME}.ndjson.gz"]


def test_an_object_larger_than_a_socket_takes_at_once_arrives_whole(store: ObjectStore) -> None:
    noise = random.Random(7).randbytes(3 << 19).hex().encode()
    sink = sink_of(store, gzip=False)
    run(send(sink, parcel(sink, record(b'{"v":"%b"}' % noise, host="pump-7"))))
    assert json.loads(store.get(store.names()[0])["Body"])["fields"]["v"].encode() == noise


def test_the_right_to_put_objects_under_the_prefix_is_all_that_sending_needs(store: ObjectStore) -> None:
    access, secret = store.user("s3:PutObject", resource=f"arn:aws:s3:::{BUCKET}/telemetry/*")
    sink = sink_of(store, access_key=Secret(access), secret_key=Secret(secret))
    run(send(sink, parcel(sink, record(host="pump-7"))))
    assert len(store.names()) == 1
    elsewhere = sink_of(store, access_key=Secret(access), secret_key=Secret(secret), prefix="other/")
    with pytest.raises(AuthExpired, match="the keys may not do this"):
        run(send(elsewhere, parcel(elsewhere, record())))


def test_a_wrong_secret_key_is_told_as_one(store: ObjectStore) -> None:
    sink = sink_of(store, secret_key=Secret("wrong-secret-key"))
    with pytest.raises(AuthExpired, match="the secret key is not that of the access key"):
        run(send(sink, parcel(sink, record())))


def test_a_missing_bucket_is_for_a_person(store: ObjectStore) -> None:
    sink = sink_of(store, bucket="elsewhere")
    with pytest.raises(Retryable, match="no such bucket: create it, or correct `bucket`") as told:
        run(send(sink, parcel(sink, record())))
    assert told.value.operator


def test_keys_that_were_changed_in_their_files_are_used_from_the_next_refusal_on(
    store: ObjectStore, tmp_path: Path
) -> None:
    access, secret = tmp_path / "access", tmp_path / "secret"
    access.write_text("AKIAOLDOLDOLDOLDOLD0\n")
    secret.write_text("the-former-secret\n")
    sink = sink_of(store, access_key=Secret(path=str(access)), secret_key=Secret(path=str(secret)))
    one = parcel(sink, record(host="pump-7"))

    async def main() -> None:
        async with sink.open() as deliver:
            with pytest.raises(AuthExpired, match="no such access key"):
                await deliver(one)
            access.write_text(store.access)
            secret.write_text(store.secret)
            await deliver(one)

    run(main())
    assert len(store.names()) == 1


def test_verifying_leaves_nothing_behind(store: ObjectStore) -> None:
    said: list[str] = []
    evidence = run(sink_of(store).verify(said.append))
    assert "was stored in telemetry and read back, then deleted" in evidence
    # Where a job reads meanwhile, this name tells it to pass over.
    assert "/_telemetry-agent-" in evidence
    assert len(said) == 2
    assert store.names() == []


def test_verifying_without_the_right_to_read_says_that_the_object_is_there(store: ObjectStore) -> None:
    access, secret = store.user("s3:PutObject")
    sink = sink_of(store, access_key=Secret(access), secret_key=Secret(secret))
    with pytest.raises(Unverified, match="was taken, but the keys may not read it back"):
        run(sink.verify(lambda text: None))
    assert len(store.names()) == 1


def test_verifying_without_the_right_to_delete_succeeds_and_says_what_is_left(store: ObjectStore) -> None:
    access, secret = store.user("s3:PutObject", "s3:GetObject")
    sink = sink_of(store, access_key=Secret(access), secret_key=Secret(secret))
    evidence = run(sink.verify(lambda text: None))
    assert "read back; it is left there, as it could not be deleted" in evidence
    assert len(store.names()) == 1
