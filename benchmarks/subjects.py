"""
What is measured: this agent, and the peers that do the same job.

All get batches of 500 and a flush of 1 s where they have such settings. Everything else of this agent is at its
default: MQTT 5, fsync before each acknowledgement, checksums, gzip, four requests in flight, the status pages on.
syslog-ng has no MQTT source, so mosquitto_sub feeds it and is counted with it; where there is an outage it gets
its reliable disk buffer. collectd takes numbers alone and keeps nothing on disk. Both send uncompressed and
acknowledge what they have not stored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from benchmarks import load
from benchmarks.programs import module, program
from benchmarks.receiver import DATASET, SEQ

BATCH = 500
CLIENT_ID = "bench-subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a subject runs, and between what."""

    folder: Path
    broker_port: int
    receiver_port: int
    status_port: int
    qos: int
    ca: Path | None = None  # the broker speaks TLS, and this authority has signed its certificate
    outage: bool = False
    sinks: int = 1
    select: str = "*"
    extra_config: str = ""

    @property
    def url(self) -> str:
        """Where the receiver is."""
        return f"http://127.0.0.1:{self.receiver_port}"


class Subject(Protocol):
    """One thing to measure."""

    @property
    def name(self) -> str: ...

    @property
    def payload(self) -> load.Payload:
        """The only payload it takes."""

    @property
    def marker(self) -> str:
        """What stands before a record's number in what it sends."""

    @property
    def has_metrics(self) -> bool:
        """Whether `/metrics` on the place's status port counts commits."""

    def command(self, place: Place) -> list[str]:
        """Write its files into the folder and give the command that runs it. Raises Missing."""


@dataclass(frozen=True, slots=True)
class Agent:
    """This agent."""

    name: str = "telemetry-agent"
    payload: ClassVar[load.Payload] = "json"
    marker: ClassVar[str] = SEQ
    has_metrics: ClassVar[bool] = True

    def command(self, place: Place) -> list[str]:
        path = place.folder / "agent.toml"
        path.write_text(self.config(place))
        return module("agent", "run", "--config", str(path))

    def config(self, place: Place) -> str:
        """The text of agent.toml."""
        scheme, ca = ("mqtts", f"ca_file = {json.dumps(str(place.ca))}\n") if place.ca else ("mqtt", "")
        subscription = f'topic = "{load.prefix(self.payload)}/#"\nqos = {place.qos}\n'
        broker = f'url = "{scheme}://127.0.0.1:{place.broker_port}"\nclient_id = "{CLIENT_ID}"\n{ca}'
        tables = [
            f"[spool]\ndirectory = {json.dumps(str(place.folder / 'state'))}\n",
            f'[status]\nlisten = "127.0.0.1:{place.status_port}"\n',
            f'[collectors.line]\ntype = "mqtt"\n{broker}',
            f"[[collectors.line.subscription]]\n{subscription}",
        ]
        tables += [
            f'[sinks.{name}]\ntype = "obsrv"\nurl = "{place.url}"\ndataset = "{name}"\n'
            f'select = "{place.select}"\nbatch_records = {BATCH}\nlinger = "1s"\n'
            for name in datasets(place.sinks)
        ]
        return "\n".join([*tables, place.extra_config])


def datasets(sinks: int) -> tuple[str, ...]:
    """The names of so many sinks, and of their datasets."""
    return (DATASET, *(f"{DATASET}-{number}" for number in range(2, sinks + 1)))


@dataclass(frozen=True, slots=True)
class SyslogNg:
    """syslog-ng, fed by mosquitto_sub."""

    name: str = "syslog-ng"
    payload: ClassVar[load.Payload] = "json"
    marker: ClassVar[str] = SEQ
    has_metrics: ClassVar[bool] = False

    def command(self, place: Place) -> list[str]:
        binary = program("syslog-ng", "syslog-ng-core syslog-ng-mod-http")
        ca = f"--cafile {place.ca} " if place.ca else ""
        feed = (
            f"exec {program('mosquitto_sub', 'mosquitto-clients')} -h 127.0.0.1 -p {place.broker_port} {ca}"
            f"-i {CLIENT_ID} -c -q {place.qos} -t '{load.prefix(self.payload)}/#' "
            r"-F '{\"topic\":\"%t\",\"payload\":%p}'"
        )
        buffer = (
            f"disk-buffer(reliable(yes) mem-buf-size(10485760) disk-buf-size(268435456) dir({place.folder}))"
            if place.outage
            else "log-fifo-size(1000000)"
        )
        (place.folder / "syslog-ng.conf").write_text(
            "@version: current\n"
            "options { stats-freq(0); keep-hostname(yes); use-dns(no); log-msg-size(131072); };\n"
            f'source s {{ program("{feed}" flags(no-parse) log-iw-size(10000) log-fetch-limit(1000)); }};\n'
            f'destination d {{ http(url("{place.url}/{DATASET}") method("POST")\n'
            '  headers("Content-Type: application/json")\n'
            '  body("$MSG") body-prefix("[") delimiter(",") body-suffix("]")\n'
            f"  batch-lines({BATCH}) batch-timeout(1000) workers(1) retries(1000000) time-reopen(1) {buffer}); }};\n"
            "log { source(s); destination(d); flags(flow-control); };\n"
        )
        files = {"-f": "conf", "-R": "persist", "-c": "ctl", "-p": "pid"}
        words = [word for flag, kind in files.items() for word in (flag, str(place.folder / f"syslog-ng.{kind}"))]
        return [binary, "-F", "--no-caps", *words]


@dataclass(frozen=True, slots=True)
class Collectd:
    """collectd: a number for a payload, which is the record's own number, and nothing on disk."""

    name: str = "collectd"
    payload: ClassVar[load.Payload] = "collectd"
    marker: ClassVar[str] = '"values":['
    has_metrics: ClassVar[bool] = False

    def command(self, place: Place) -> list[str]:
        binary = program("collectd", "collectd-core")
        ca = f'    CACert "{place.ca}"\n' if place.ca else ""
        path = place.folder / "collectd.conf"
        path.write_text(
            f'BaseDir "{place.folder}"\nPIDFile "{place.folder}/collectd.pid"\nHostname "bench"\nFQDNLookup false\n'
            "Interval 1\nReadThreads 1\nWriteThreads 1\n"
            "LoadPlugin logfile\n<Plugin logfile>\n  LogLevel warning\n  File STDERR\n</Plugin>\n"
            "LoadPlugin mqtt\n<Plugin mqtt>\n"
            f'  <Subscribe "bench">\n    Host "127.0.0.1"\n    Port {place.broker_port}\n    ClientId "{CLIENT_ID}"\n'
            f'    QoS {place.qos}\n    Topic "{load.prefix(self.payload)}/#"\n    CleanSession false\n{ca}'
            "  </Subscribe>\n</Plugin>\n"
            # It sends when 128 KiB are full; what is left over, after a second.
            "<LoadPlugin write_http>\n  FlushInterval 1\n  FlushTimeout 1\n</LoadPlugin>\n"
            f'<Plugin write_http>\n  <Node "bench">\n    URL "{place.url}/{DATASET}"\n    Format "JSON"\n'
            "    BufferSize 131072\n    Timeout 5000\n    StoreRates false\n  </Node>\n</Plugin>\n"
        )
        return [binary, "-f", "-C", str(path)]


PEERS: tuple[Subject, ...] = (Collectd(), SyslogNg())
