"""
The stand-in against what a real Obsrv API service answered: every recorded request, replayed.

obsrv_recorded.json holds the requests and answers as recorded; bodies that were binary or too long to print are
rebuilt here from their meaning.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import random
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import faults
from agent.sandbox.obsrv import Dataset, Key, Rbac, Sandbox

RECORDED = json.loads((Path(__file__).parent / "obsrv_recorded.json").read_text())
ROWS = RECORDED["rows"]
SECTIONS = list(dict.fromkeys(row["section"] for row in ROWS))

LEFT_OUT = {
    "size ~50 MB single": "the same as 10 MB, at a second of test time and 300 MB of memory",
    "size ~105 MB (over 100mb limit)": "the limit is tested at 10 kB; 105 MB cost a second and test no other line",
    "size gzip bomb 110MB -> small": "the same: 20 kB in 1 kB is the same path",
}

DATASETS = [
    Dataset(id="example", alias="example-alias", api_version="v2"),
    Dataset(id="notopic", entry_topic=""),
    Dataset(id="v1ds", api_version="v1", entry_topic="", dataset_config={"entry_topic": "local.v1"}),
    Dataset(id="v1notopic", api_version="v1", entry_topic="unused"),
    Dataset(id="draftonly", status="Draft"),
    Dataset(id="retired", status="Retired"),
    Dataset(id="archived", status="Archived"),
    Dataset(id="noextract", extraction_config={}),
    Dataset(
        id="custom-keys",
        extraction_config={
            "is_batch_event": True,
            "extraction_key": "rows",
            "dedup_config": {"drop_duplicates": True, "dedup_key": "batch_id"},
        },
    ),
    Dataset(id="badtopic", entry_topic="bad topic!"),
    *(Dataset(id=f"err{code}") for code in (10, 29, 17, 87, 3, 5, 6, 7, 19, 20, 2, 31)),
    Dataset(id="slow3"),
    Dataset(id="drop"),
]
USERS = {"someone": ["ingestor"], "looker": ["viewer"]}
KEY = Key.make()


def test_every_recorded_row_is_replayed_or_left_out_with_a_reason() -> None:
    assert len(ROWS) == 171
    assert set(LEFT_OUT) <= {row["case"] for row in ROWS}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_stand_in_answers_as_the_real_service_did(section: str) -> None:
    rows = [row for row in ROWS if row["section"] == section and row["case"] not in LEFT_OUT]

    async def main() -> list[str]:
        options: dict[str, Any] = {"publishes": False}
        if section.startswith("RBAC"):
            options |= {"rbac": Rbac(key=KEY, users=USERS), "body_limit": 10 * 1024}
        if section.startswith("Sizes"):
            options |= {"max_message": 200_000_000}  # the broker of that run had no limit
        wrong: list[str] = []
        async with Sandbox.open(DATASETS, **options) as sandbox:
            if section.startswith("Management"):  # three events had been stored there
                body = json.dumps(envelope("earlier", [{"n": 1}, {"n": 2}, {"n": 3}])).encode()
                await asyncio.to_thread(
                    exchange, sandbox.port, "POST", "/v2/data/in/example", {"Content-Type": "application/json"}, body
                )
            for row in rows:
                fault = sandbox.faults.add(failing(row)) if failing(row) else None
                got = await asyncio.to_thread(replay, sandbox.port, row)
                if fault is not None:
                    assert fault.hits == 1, row["case"]
                    sandbox.faults.remove(fault)
                wrong += [f"{row['case']}: {line}" for line in differences(row["expect"], *got)]
        return wrong

    assert not asyncio.run(main())


def test_the_entry_topic_holds_what_the_real_one_held() -> None:
    rows = [row for row in ROWS if row["section"].startswith("Main")]

    async def main() -> list[dict[str, Any]]:
        async with Sandbox.open(DATASETS) as sandbox:
            for row in rows:
                await asyncio.to_thread(replay, sandbox.port, row)
            return [dict(entry.record) for entry in sandbox.accepted if entry.topic == "local.ingest"]

    records = asyncio.run(main())
    for record in records:
        assert abs(record["obsrv_meta"].pop("syncts") / 1000 - time.time()) < 60
    # Compared as text: 1 and 1.0, 0 and -0.0 are equal in Python and not in the topic.
    assert [json.dumps(record) for record in records] == [json.dumps(record) for record in RECORDED["kafka"]]


def envelope(msgid: str, data: object) -> dict[str, Any]:
    return {"id": "api.data.in", "ver": "v2", "ts": "1711966306164", "params": {"msgid": msgid}, "data": data}


def failing(row: dict[str, Any]) -> faults.Fault | None:
    """What was broken on the real side when that row was recorded, without its seconds."""
    case, expect = row["case"], row["expect"]
    if case.startswith("PostgreSQL down"):
        if expect["status"] == 400:  # found before anybody asks PostgreSQL
            return None
        return faults.answer("lookup", 500, expect["code"], expect["message"])
    if case == "slow broker 3 s":
        return faults.slow(0.3)
    broken = ("Kafka down", "kafka error", "broker cuts", "broker frozen", "broker gone")
    if case.startswith(broken):
        return faults.answer("send", 500, expect["code"], expect["message"])
    return None


def replay(port: int, row: dict[str, Any]) -> tuple[int | None, bytes]:
    headers = dict(row["headers"])
    if row["case"].startswith(("RBAC", "limit")) and (token := authorization(row.get("token"))):
        headers["Authorization"] = token
    timeout = 1.0 if row["expect"]["status"] is None else 30.0
    return exchange(port, row["method"], row["path"], headers, body_of(row), timeout)


def exchange(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float = 30.0
) -> tuple[int | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except TimeoutError:
        return None, b""
    finally:
        connection.close()


def body_of(row: dict[str, Any]) -> bytes | None:
    if row["method"] in ("GET", "HEAD", "OPTIONS"):
        return None
    text: str = row["body"]
    if size := row.get("fill"):
        rng = random.Random(1)
        fill = (
            "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789+/", k=size)) if row.get("random") else "x" * size
        )
        text = text.replace("<fill>", fill)
    if count := row.get("records"):
        text = text.replace("<records>", ",".join(f'{{"n":{n}}}' for n in range(count)))
    match row.get("encoding", ""):
        case "gzip":
            return gzip.compress(text.encode())
        case "gzip truncated":
            return gzip.compress(text.encode())[:-20]
        case "deflate":
            return zlib.compress(text.encode())
        case "utf-16":
            return text.encode("utf-16")
        case "bom":
            return text.encode("utf-8-sig")
        case "invalid utf-8":
            return text.encode().replace(b"<ff><fe>", b"\xff\xfe")
        case _:
            return text.encode()


def authorization(kind: str | None) -> str | None:
    now = int(time.time())
    match (kind or "").split(" "):
        case [""]:
            return None
        case ["bare"]:
            return KEY.token({"roles": ["ingestor"], "exp": now + 60})
        case ["basic"]:
            return "Basic " + KEY.token({"roles": ["ingestor"], "exp": now + 60})
        case ["garbage"]:
            return "Bearer garbage"
        case ["roles", *roles]:
            return "Bearer " + KEY.token({"roles": roles, "exp": now + 60})
        case ["string"]:
            return "Bearer " + KEY.token({"roles": "ingestor", "exp": now + 60})
        case ["expired"]:
            return "Bearer " + KEY.token({"roles": ["ingestor"], "exp": now - 60})
        case ["forged"]:
            return "Bearer " + Key.make().token({"roles": ["ingestor"], "exp": now + 60})
        case ["user", role]:
            user = {"ingestor": "someone", "viewer": "looker"}.get(role, "nobody")
            return "Bearer " + Key.make().token({"sub": user})  # not checked: a gateway is trusted
        case other:
            raise AssertionError(other)


def differences(expect: dict[str, Any], status: int | None, body: bytes) -> list[str]:
    found = [] if status == expect["status"] else [f"status {status}, not {expect['status']}: {body[:200]!r}"]
    if found:
        return found
    if "raw" in expect:
        return [] if body.decode() == expect["raw"] else [f"body {body[:80]!r}, not {expect['raw']!r}"]
    if "responseCode" not in expect:
        return []
    answer = json.loads(body)
    error, params = answer.get("error", {}), answer["params"]
    seen = {
        "responseCode": answer["responseCode"],
        "api": answer.get("id"),
        "echo": params.get("msgid"),
        "code": error.get("code"),
        "message": error.get("message"),
        "resmsgid": bool(params.get("resmsgid")),
        "trace": "trace" in error,
    }
    found += [
        f"{key} {seen[key]!r}, not {expect.get(key)!r}" for key in seen if key in expect and seen[key] != expect[key]
    ]
    if "resmsgid" in expect and "echo" not in expect and seen["echo"]:
        found.append(f"echoes {seen['echo']!r}")
    if "result" in expect and "version_key" not in str(expect["result"]) and answer.get("result") != expect["result"]:
        found.append(f"result {answer.get('result')!r}, not {expect['result']!r}")
    return found
