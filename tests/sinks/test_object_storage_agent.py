"""The whole agent, killed while its object is stored and the answer is not there yet."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from processes import AgentProcess, wait_for

CONFIG = """
[agent]
hostname = "pump-7"
lifecycle_events = []
[collectors.host]
type = "host"
interval = "100ms"
groups = ["load", "mem"]
[sinks.bucket]
type = "object_storage"
url = "http://127.0.0.1:@PORT@"
bucket = "telemetry"
access_key = "AKIAIOSFODNN7EXAMPLE"
secret_key = "wJalrXUtnFEMI/K7MDENG"
batch_records = 6
linger = "500ms"
"""


class _Store(BaseHTTPRequestHandler):
    """Stores every object, and answers only while `answers` is set."""

    protocol_version = "HTTP/1.1"
    puts: ClassVar[list[tuple[str, bytes]]] = []
    answers: ClassVar[threading.Event] = threading.Event()

    def do_PUT(self) -> None:
        self.puts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.answers.wait(20)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def storing() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Store)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # its client was killed
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        _Store.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_object_whose_answer_was_lost_is_overwritten_with_itself_and_no_record_is_stored_twice(
    tmp_path: Path,
) -> None:
    with storing() as port, AgentProcess(tmp_path, CONFIG.replace("@PORT@", str(port))) as agent:
        agent.start()
        wait_for("an object", lambda: _Store.puts)
        agent.kill()
        before = len(_Store.puts)
        _Store.answers.set()
        agent.start()
        wait_for("three more objects", lambda: len(_Store.puts) >= before + 4)
        assert agent.stop() == 0
    first, again = _Store.puts[0], _Store.puts[before]
    assert again == first
    objects = dict(_Store.puts)
    assert len(objects) == len(_Store.puts) - 1
    # Their names say which records of the spool they hold: all of them, each once.
    stretches = sorted(tuple(map(int, path.split("-")[-3:-1])) for path in objects)
    ends = [last + 1 for _, last in stretches]
    assert [start for start, _ in stretches] == [0, *ends[:-1]]
    lines = [line for body in objects.values() for line in gzip.decompress(body).splitlines()]
    assert len(lines) == len(set(lines)) == ends[-1]
    assert all(path.startswith("/telemetry/telemetry/pump-7/dt%3D") for path in objects)
