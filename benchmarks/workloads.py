"""The end-to-end workloads as data: what is sent, who runs beside this agent, and what the figures are to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.load import Load
from benchmarks.runs import Outage
from benchmarks.subjects import PEERS, Agent, Subject

AGENT = Agent()
PLAIN = Agent("telemetry-agent, no TLS")
COLLECTD, SYSLOG_NG = PEERS

LINGER_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure of this agent that is not to exceed a limit; with `against` its ratio to that one's, round by round."""

    field: str
    limit: float
    against: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One row of a table."""

    subject: Subject
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One table: this agent first, then what it is compared with."""

    name: str
    about: str
    load: Load
    peers: Sequence[Subject] = ()
    targets: Sequence[Target]
    outage: Outage | None = None
    clouds: bool = False
    only_when_named: bool = False

    def contestants(self, against: Sequence[str]) -> list[Contestant]:
        """Who runs in each round, where only these peers are wanted; over TLS this agent without it as well."""
        rows = [Contestant(subject=AGENT, load=self.load)]
        if self.load.tls:
            rows.append(Contestant(subject=PLAIN, load=replace(self.load, tls=False)))
        rows += [Contestant(subject=peer, load=self.load) for peer in self.peers if peer.name in against]
        return rows


_W1 = Load(count=200_000)
_W2 = Load(count=50_000, qos=1, window=1000)
_W4 = Load(count=80_000, qos=1, rate=2000, window=10_000)
_PACED = Load(count=150_000, qos=1, rate=5000, window=10_000)
_GONE = Outage(after=10, seconds=20)
_NONE_LOST = Target(field="lost", limit=0)
_OVER_TLS = Target(field="cpu_us", limit=1.3, against=PLAIN.name)
_MEMORY = Target(field="rss_mib", limit=48)

_ALL = (
    Workload(
        name="w1",
        about="200,000 messages of 200 bytes, QoS 0, as fast as they go",
        load=_W1,
        peers=(COLLECTD, SYSLOG_NG),
        targets=(Target(field="cpu_us", limit=0.5, against=COLLECTD.name), _NONE_LOST),
    ),
    Workload(
        name="w2",
        about="50,000 messages, QoS 1, 1,000 in flight, as fast as they go",
        load=_W2,
        peers=(SYSLOG_NG, COLLECTD),
        targets=(Target(field="cpu_us", limit=0.3, against=SYSLOG_NG.name), _NONE_LOST),
    ),
    Workload(
        name="w4",
        about="80,000 messages, QoS 1, 2,000 a second; the receiver is gone from 10 s to 30 s",
        load=_W4,
        peers=(SYSLOG_NG,),
        outage=_GONE,
        targets=(Target(field="cpu_us", limit=0.25, against=SYSLOG_NG.name), _NONE_LOST),
    ),
    Workload(
        name="paced-5000",
        about="5,000 messages a second for 30 s, QoS 1",
        load=_PACED,
        peers=(SYSLOG_NG,),
        targets=(
            Target(field="core_percent", limit=6),
            Target(field="p99_ms", limit=LINGER_MS + 300),
            _NONE_LOST,
        ),
    ),
    Workload(
        name="w2-tls",
        about="w2 with TLS to the broker, beside the same without",
        load=replace(_W2, tls=True),
        targets=(_OVER_TLS, _NONE_LOST),
    ),
    Workload(
        name="paced-5000-tls",
        about="paced-5000 with TLS to the broker, beside the same without",
        load=replace(_PACED, tls=True),
        targets=(_OVER_TLS, _NONE_LOST),
    ),
    Workload(
        name="thin-10",
        about="10 messages a second for 60 s, QoS 1",
        load=Load(count=600, qos=1, rate=10),
        targets=(Target(field="p99_ms", limit=LINGER_MS + 100), _NONE_LOST),
    ),
    Workload(
        name="rss-w2",
        about="w2 with all three clouds configured and host metrics sampled; the load goes to Obsrv",
        load=_W2,
        clouds=True,
        targets=(_MEMORY, _NONE_LOST),
    ),
    Workload(
        name="rss-w4",
        about="w4 in the same way",
        load=_W4,
        outage=_GONE,
        clouds=True,
        targets=(_MEMORY, _NONE_LOST),
    ),
    Workload(
        name="rss-hour",
        about="2,000 messages a second for an hour, all three clouds configured",
        load=Load(count=7_200_000, qos=1, rate=2000, window=10_000),
        clouds=True,
        only_when_named=True,
        targets=(_MEMORY, Target(field="rss_growth_mib", limit=2), _NONE_LOST),
    ),
)

WORKLOADS: Mapping[str, Workload] = {each.name: each for each in _ALL}
