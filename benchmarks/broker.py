"""
Mosquitto, one for each run, set so that it loses nothing: what is lost then, the subject has lost.

No limit to its queues, no persistence, and every subscription in its log, which is how a run knows that
its subject is ready.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from benchmarks.programs import free_port, listens, program, running, wait_until

_SUBSCRIBED = re.compile(r"^\d+: \S+ [012] \S+$", re.MULTILINE)  # "1790000000: client 1 filter/#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A Mosquitto that runs."""

    port: int
    pid: int
    ca: Path | None
    log: Path

    def subscriptions(self) -> int:
        """How many times a client has subscribed so far."""
        return len(_SUBSCRIBED.findall(self.log.read_text(errors="replace")))

    def wait_for_subscription(self, process: subprocess.Popen[bytes], log: Path, *, count: int = 1) -> None:
        """Return once the process has subscribed; `log` is its own, for the error. Raises Failed."""
        wait_until("a subscription at the broker", lambda: self.subscriptions() >= count, process, log, 60)


@contextmanager
def mosquitto(folder: Path, *, tls: trustme.CA | None = None, inflight: int = 1000) -> Iterator[Broker]:
    """A Mosquitto with its files in that folder; with `tls` its only listener speaks TLS. Raises Missing."""
    binary = program("mosquitto", "mosquitto")
    port, log, path = free_port(), folder / "mosquitto.log", folder / "mosquitto.conf"
    ca, lines = None, ""
    if tls is not None:
        ca = folder / "ca.pem"
        tls.cert_pem.write_to_path(ca)
        server = tls.issue_cert("127.0.0.1", "localhost")
        server.private_key_pem.write_to_path(folder / "server.key")
        for blob in server.cert_chain_pems:
            blob.write_to_path(folder / "server.pem", append=True)
        lines = f"certfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    path.write_text(
        # As root it would become the user mosquitto, who may not write here.
        (f"user {getpass.getuser()}\n" if os.geteuid() == 0 else "")
        + "allow_anonymous true\npersistence false\nsys_interval 0\n"
        + f"max_queued_messages 0\nmax_inflight_messages {inflight}\n"
        + "log_dest stderr\nlog_type error\nlog_type warning\nlog_type subscribe\n"
        + f"listener {port} 127.0.0.1\n{lines}"
    )
    log.touch()
    with running([binary, "-c", str(path)], log) as process:
        wait_until("Mosquitto to listen", lambda: listens(port), process, log)
        yield Broker(port=port, pid=process.pid, ca=ca, log=log)
