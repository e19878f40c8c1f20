"""The stand-in as a process: an address, control over HTTP, a journal that says what was stored."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ncloud_client import CW_KEY, KEY, ROW, SECRET, exchange, send

from agent.sandbox.ncloud import Key, ledger, process

A = {"cpu": 1.5, "host": "a"}


def test_a_process_takes_faults_keys_schemas_and_settings_and_keeps_a_journal(tmp_path: Path) -> None:
    keys = [Key(KEY, SECRET)]
    with process.start(tmp_path / "journal", keys=keys, schemas=[ROW], host="::1", clock_offset=600) as far:
        address = urlsplit(far.url)
        assert address.hostname == "::1"
        port = address.port or 0

        def put(*records: dict[str, object], **how: object) -> int:
            return send(port, *records, host="::1", **how).status  # type: ignore[arg-type]

        assert put(A) == 401
        assert put(A, {"cpu": 2}, ahead=600) == 200
        far.settings(clock_offset=0)
        far.fault("gateway", code="510", stored=True, count=1)
        assert put({"cpu": 2, "host": "b"}) == 504
        assert far.hits() == 1
        far.fault("unavailable", retry_after=1)
        assert put(A) == 503
        far.heal()
        far.add_key(Key("AK_NEW", "SK_NEW"))
        far.revoke_key(KEY)
        assert put(A) == 401
        far.schema({**ROW, "cw_key": "17", "prodName": "Custom/Other"})
        assert put(A, cw_key="17", key="AK_NEW", secret="SK_NEW") == 200
        assert [row["target"] for row in far.rows(CW_KEY)] == ["a", "b"]
        stored = exchange(port, "GET", f"/_sandbox/stored/{CW_KEY}", {}, host="::1")
        assert len(stored.body.splitlines()) == 3
        for path, body in (
            ("faults", b'{"fault": "none"}'),
            ("keys", b"{}"),
            ("settings", b'{"x": 1}'),
            ("faults", b"[]"),
            ("x", b""),
        ):
            said = exchange(port, "POST", f"/_sandbox/{path}", {}, body, host="::1")
            assert said.status in (400, 404)
        with pytest.raises(urllib.error.HTTPError):
            far.schema({"prodName": "Custom/Other"})
        report = far.report()
    assert report["statuses"] == {"401": 2, "200": 2, "504": 1, "503": 1}
    assert report["stored"] == {CW_KEY: 2, "17": 1}
    assert report["untargeted"] == {CW_KEY: 1}
    # The process is gone, its books are not.
    assert [row["metrics"] for row in far.rows(CW_KEY)] == [{"cpu": 1.5}, {"cpu": 2}]
    assert [row["metrics"] for row in far.rows(CW_KEY, targeted=False)] == [{"cpu": 2}]
    assert [row["dimensions"] for row in far.rows("17")] == [{"host": "a"}]
    assert [entry["status"] for entry in ledger.read_journal(far.journal)["request"]] == [401, 200, 504, 503, 401, 200]
    text = far.journal.read_text()
    assert "SK_" not in text
    assert "AK_" not in text
