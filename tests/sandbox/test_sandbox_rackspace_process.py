"""The Rackspace stand-in as a process: three addresses, control over HTTP, a journal that outlives it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

from rackspace_far import TENANT, call, event, post, sign_in, token

from agent.sandbox.rackspace import ledger, process


def test_a_process_takes_faults_and_keeps_a_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    users = ["--user", "someone:secret:1,2"]
    with process.start(journal, hosted=True, rate=6, options=users) as far:
        name = token(far.identity_url, username="someone", api_key="secret")
        headers = {"X-Auth-Token": name}

        def send(body: bytes | None = None) -> int | None:
            return call(far.url, "POST", "/v2.0/1/events", body or event(), headers).status

        assert send(event("kept", data='x","tenantId":"other')) == 200
        far.fault("no_elasticsearch", count=1)
        assert send() == 500
        far.fault("broken_store", copies=3)
        assert send(event("thrice")) == 500
        far.heal()
        far.clock(-86400.0)
        assert send() == 400
        far.clock(0.0)
        far.fault("over_limit", at="identity", retry_after=9)
        assert sign_in(far.identity_url).headers["Retry-After"] == "9"
        assert far.hits() == 1
        far.heal()
        far.fault("verbatim", at="identity", status=200, body="hello", count=1)
        assert sign_in(far.identity_url).body == b"hello"
        far.revoke()
        assert send() == 401
        far.rotate("someone", "changed")
        headers["X-Auth-Token"] = token(far.identity_url, username="someone", api_key="changed")
        assert send() == 200
        far.distrust()
        assert send() == 401
        assert call(far.url, "POST", "/_sandbox/faults", b'{"fault": "nonsense"}').status == 400
        assert call(far.url, "GET", "/_sandbox/stored/other").body.count(b"\n") == 1
        assert call(far.query_url, "GET", "/_sandbox/busiest/1").json == 7
        report = far.report()
    assert report["stored"] == {"other": 1, "1": 4}
    assert report["lost"] == {"Elasticsearch unreachable": 1}
    assert report["tokens"] == {"new": 2, "again": 0}
    assert report["statuses"] == {"200": 2, "500": 2, "400": 1, "401": 2}
    # The process is gone, its books are not.
    assert [item.what for item in far.events("1")] == ["thrice"] * 3 + ["x"]
    assert [(item.sent_to, item.doubled) for item in far.events("other")] == [("1", ("tenantId",))]
    assert far.busiest("1") == 7
    books = ledger.read_journal(journal)
    assert [item["status"] for item in books["request"] if item["side"] == "ingest"] == [
        200,
        500,
        500,
        400,
        401,
        200,
        401,
    ]
    text = journal.read_text()
    assert not [secret for secret in (name, headers["X-Auth-Token"], "secret", "changed") if secret in text]


def test_it_comes_back_at_the_same_addresses_with_other_settings(tmp_path: Path) -> None:
    with process.start(tmp_path / "journal", mode="escaped") as far:
        ports = [urlsplit(url).port or 0 for url in (far.url, far.query_url, far.identity_url)]
        assert post(far.url, event(data='"')).status == 200
    with process.start(tmp_path / "journal", ports=ports, clock_offset=3600.0) as far:
        assert urlsplit(far.url).port == ports[0]
        assert post(far.url, event(data='"', when=int(time.time() * 1000) + 3_600_000)).status == 500
        assert [item.data for item in far.events(TENANT)] == ['"']


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    with process.start(tmp_path / "journal") as far:
        [child] = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and str(tmp_path) in (entry / "cmdline").read_text(errors="replace")
        ]
        os.kill(child, signal.SIGINT)
        until = time.monotonic() + 10
        while b"Z" not in Path(f"/proc/{child}/stat").read_bytes().rpartition(b")")[2].split()[0]:
            assert time.monotonic() < until
        assert far.journal.exists()
