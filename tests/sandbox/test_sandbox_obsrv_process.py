"""The stand-in as a process: an address, faults over HTTP, a journal that says what was stored."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import trustme
from far import call, envelope, put

from agent.sandbox.obsrv import Key, Sandbox, ledger, process


def test_a_process_takes_faults_and_keeps_a_journal(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"dataset_id": "old", "status": "Retired"}]))
    with process.start(tmp_path / "journal", datasets=["lake"], rows=rows) as far:
        port = urlsplit(far.url).port or 0
        assert call(port, "GET", "/health")[0] == 200
        assert asyncio.run(put(port, "1", [{"uid": "a"}, {"fields": {"uid": "b"}}])) == 200
        assert asyncio.run(put(port, "1", [{"uid": "a"}, {"fields": {"uid": "b"}}])) == 200
        assert asyncio.run(put(port, "1", [{"uid": "c"}], "old")) == 200
        far.fault("unavailable", count=1, retry_after=1)
        assert asyncio.run(put(port, "2", [{"uid": "d"}])) == 503
        far.fault("refuse")
        assert far.hits() == 1
        assert asyncio.run(put(port, "2", [{"uid": "d"}])) == 400
        assert far.hits() == 2
        far.heal()
        assert far.hits() == 0
        assert asyncio.run(put(port, "2", [{"uid": "e"}])) == 200
        report = far.report()
        assert far.stored_ids("lake") == {"a": 1, "b": 1, "e": 1}
        assert call(port, "GET", "/_sandbox/stored/lake")[2] == b"a\nb\ne\n"
        assert call(port, "POST", "/_sandbox/faults", b'{"fault": "nonsense"}')[0] == 400
    assert report["statuses"] == {"200": 4, "503": 1, "400": 1}
    assert report["stored"] == {"lake": 3}
    assert report["lost"] == {"duplicate batch": 2, "dataset not Live": 1}
    # The process is gone, its books are not; `d` and `e` had the same name.
    books = ledger.read_journal(tmp_path / "journal")
    assert [(entry["dataset"], entry["msgid"]) for entry in books["conflict"]] == [("lake", "2")]
    assert [entry["count"] for entry in books["accepted"]] == [2, 2, 1, 1]


def test_a_process_can_be_told_to_ask_for_tokens(tmp_path: Path) -> None:
    key, foreign = Key.make(), Key.make()
    with process.start(tmp_path / "journal", datasets=["lake"]) as far:
        port = urlsplit(far.url).port or 0
        far.rbac(key)
        tokens = (
            foreign.token({"roles": ["admin"]}),
            key.token({"roles": ["viewer"]}),
            key.token({"roles": ["admin"]}),
        )
        asked = [{"Authorization": f"Bearer {token}"} for token in tokens]
        body = envelope("1", [{"uid": "a"}])
        assert [call(port, "POST", "/v2/data/in/lake", body, each)[0] for each in asked] == [401, 403, 200]
        assert far.stored_ids("lake") == {"a": 1}


def test_it_serves_ipv6_and_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("::1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def healthy(url: str) -> bool:
        with urlopen(f"{url}/health", timeout=10, context=trusting) as answer:
            return bool(answer.status == 200)

    async def main() -> None:
        async with Sandbox.open(host="::1", ssl_context=context) as sandbox:
            assert sandbox.url == f"https://[::1]:{sandbox.port}"
            assert await asyncio.to_thread(healthy, sandbox.url)

    asyncio.run(main())
