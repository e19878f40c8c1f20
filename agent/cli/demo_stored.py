"""What each stand-in cloud of the demo has of what was sent, counted as it comes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from agent.cli.demo_books import Found, Sent, compare
from agent.sandbox import ncloud, obsrv, rackspace
from agent.sandbox.faults import Faults

DATASET = "demo"
HOST_KEY, DEVICES_KEY = "460438474722512896", "460438474722512897"
TENANT = "123456"

_RECORD = re.compile(r"\bid=([0-9a-f]+-[0-9]+)")
_UID = re.compile(r"\buid=([0-9a-f-]{36})")
_RULE = re.compile(r"\brule=([a-z0-9_-]+)")


class Cloud(Protocol):
    """One stand-in."""

    name: ClassVar[str]

    @property
    def faults(self) -> Faults:
        """What it does wrong."""

    @property
    def stored(self) -> str:
        """How much is stored, in its own units."""

    def look(self) -> None:
        """See what came since the last time."""

    def found(self, sent: Sent) -> Found:
        """What of all that was sent it has."""


@dataclass(slots=True)
class Obsrv:
    """Takes everything; what devices sent is known by their ids."""

    name: ClassVar[str] = "obsrv"

    sandbox: obsrv.Sandbox
    ids: set[str] = field(default_factory=set)
    twice: int = 0
    others: int = 0  # host metrics and events, which no device gave an id
    _read: int = 0

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def stored(self) -> str:
        return f"{self._read:,} records"

    def look(self) -> None:
        stored = self.sandbox.stored(DATASET)
        for item in stored[self._read :]:
            self.twice += item.id in self.ids
            self.others += not item.id
            if item.id:
                self.ids.add(item.id)
        self._read = len(stored)

    def found(self, sent: Sent) -> Found:
        wanted = sent.readings | set(sent.alarms)
        missing = len(wanted - self.ids)
        said = f"{len(wanted) - missing:,} messages by their ids, {self.others:,} records of this host and events"
        conflicts = len(self.sandbox.conflicts)
        wrong = f"{conflicts} batches had a name that other data had before" if conflicts else ""
        return Found(missing=missing, twice=self.twice, said=said, wrong=wrong)


@dataclass(slots=True)
class Insight:
    """Takes this host and the readings, rolled up to rows: how many they were is the sum of a metric."""

    name: ClassVar[str] = "insight"

    sandbox: ncloud.Sandbox
    messages: Counter[str] = field(default_factory=Counter)  # by device
    _read: int = 0

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def hosts(self) -> int:
        """Rows about this host."""
        return len(self.sandbox.stored(HOST_KEY))

    @property
    def stored(self) -> str:
        return f"{self._read + self.hosts:,} rows"

    def look(self) -> None:
        rows = self.sandbox.stored(DEVICES_KEY)
        for row in rows[self._read :]:
            self.messages[row.dimensions["device"]] += int(row.metrics.get("messages", 0))
        self._read = len(rows)

    def found(self, sent: Sent) -> Found:
        missing, twice = compare(sent.by_device, self.messages)
        said = (
            f"{self.messages.total():,} readings by the sum over {self._read:,} rows of devices, "
            f"{self.hosts:,} rows of this host"
        )
        refused = sum(each.count for each in self.sandbox.discarded)
        wrong = f"{refused} rows were thrown away" if refused else ""
        return Found(missing=missing, twice=twice, said=said, wrong=wrong)


@dataclass(slots=True)
class Rackspace:
    """Takes events: alarms are known by their ids, those of the rule by their number."""

    name: ClassVar[str] = "rackspace"

    sandbox: rackspace.Sandbox
    alarms: dict[str, str | None] = field(default_factory=dict)  # id and text
    events: set[str] = field(default_factory=set)  # of rules, by the ids of their records
    twice: int = 0
    others: int = 0  # what the agent said of itself
    astray: int = 0  # stored for another tenant
    _read: int = 0

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def stored(self) -> str:
        return f"{self._read:,} events"

    def look(self) -> None:
        stored = self.sandbox.ledger.stored
        for item in stored[self._read :]:
            data = item.data or ""
            if item.tenant != TENANT:
                self.astray += 1
            elif alarm := _UID.search(data):
                self.twice += alarm[1] in self.alarms
                self.alarms[alarm[1]] = item.what
            elif _RULE.search(data) and (record := _RECORD.search(data)):
                self.twice += record[1] in self.events
                self.events.add(record[1])
            else:
                self.others += 1
        self._read = len(stored)

    def found(self, sent: Sent) -> Found:
        arrived = sum(self.alarms.get(uid) == text for uid, text in sent.alarms.items())
        missing = len(sent.alarms) - arrived + max(0, sent.events - len(self.events))
        said = (
            f"{arrived:,} alarms by id and text, {len(self.events):,} of {sent.events:,} events of the rule, "
            f"{self.others:,} of the agent itself"
        )
        wrong = f"{self.astray} events were stored for another tenant" if self.astray else ""
        return Found(missing=missing, twice=self.twice, said=said, wrong=wrong)
