"""The books of the demo: what was sent against what each cloud has, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from agent.spool import Report

NOT_ALL = 1  # the exit status where something is missing
FATES = {"expired": "expired", "evicted": "evicted", "dead-lettered": "dead"}
QUEUED = "queued"
RARE = ("damaged", "abandoned")  # said where there are any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What has to arrive: by the devices' own books, and by the agent's count of the events that it made."""

    readings: AbstractSet[str] = frozenset()  # ids
    by_device: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, str] = field(default_factory=dict)  # ids and texts
    events: int = 0  # of rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What of it a cloud has."""

    missing: int
    twice: int
    said: str  # what it has
    wrong: str = ""  # what must never be


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What became of one cloud's share."""

    cloud: str
    lost: int
    fates: Mapping[str, int]  # by their names here
    queued: int  # records that still wait on disk
    found: Found

    @property
    def is_good(self) -> bool:
        """Whether all of it arrived."""
        return not (self.lost or self.found.wrong or any(self.fates.values()))


def compare(sent: Mapping[str, int], counted: Mapping[str, int]) -> tuple[int, int]:
    """How many are missing, and how many too many there are: what one device has twice makes up for no other's loss."""
    names = {*sent, *counted}
    differences = [sent.get(name, 0) - counted.get(name, 0) for name in names]
    return sum(each for each in differences if each > 0), -sum(each for each in differences if each < 0)


def account(cloud: str, found: Found, ledger: Mapping[str, int], *, by_age: bool = False) -> Account:
    """
    Close the books of one cloud; `ledger` is what `ledgers` has of it.

    `by_age`: what is missing there may be what was too old for the service, which the agent says: it is called
    expired, and not lost. The agent's count has the records of this host in it too, so it may excuse too much,
    and the verdict is a bad one all the same.
    """
    fates = {name: ledger.get(key, 0) for name, key in FATES.items()}
    fates |= {name: ledger[name] for name in RARE if ledger.get(name)}
    lost = max(0, found.missing - (fates["expired"] if by_age else 0))
    return Account(cloud=cloud, lost=lost, fates=fates, queued=ledger.get(QUEUED, 0), found=found)


def ledgers(report: Report) -> Mapping[str, Mapping[str, int]]:
    """What became of each sink's records and what still waits, by the books on disk."""
    found: dict[str, dict[str, int]] = {}
    for cursor in report.cursors:
        mine = found.setdefault(cursor.sink, {})
        for fate, count in (cursor.ledger.as_dict() | {QUEUED: cursor.queued}).items():
            mine[fate] = mine.get(fate, 0) + count
    return found


def verdict(accounts: Sequence[Account], gaps: Sequence[str], report: Report) -> tuple[list[str], int]:
    """What came out, in lines, and the exit status."""
    lines = []
    for each in accounts:
        lines.append(f"{each.cloud:10} {_counts(each.lost, each.fates)}  {each.found.said}")
        if each.lost and each.queued:
            lines.append(f"{'':10} {each.queued:,} records for it still wait in the spool")
        if each.found.twice:
            lines.append(f"{'':10} {each.found.twice:,} came twice: an answer was lost, or the broker sent them again")
        if each.found.wrong:
            lines.append(f"{'':10} {each.found.wrong}")
    lines += [f"{'gap':10} {gap}" for gap in gaps]
    if report.balanced:
        lines.append(f"{'audit':10} every record that the agent took in is accounted for")
    else:
        lines += [f"{'audit':10} {finding}" for finding in report.findings]
    names = dict.fromkeys(name for each in accounts for name in each.fates)
    total = {name: sum(each.fates.get(name, 0) for each in accounts) for name in names}
    lines.append(_counts(sum(each.lost for each in accounts), total))
    is_good = report.balanced and all(each.is_good for each in accounts)
    return lines, 0 if is_good else NOT_ALL


def _counts(lost: int, fates: Mapping[str, int]) -> str:
    return "  ".join([f"lost {lost}", *(f"{name} {count}" for name, count in fates.items())])
