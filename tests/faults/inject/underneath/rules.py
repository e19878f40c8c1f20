"""
The control file, and which call is struck by which of its rules.

It is JSON, put in place whole (a rename), and looked at again while the program runs:

    {"rules": [{"call": "fdatasync", "at": "*.seg", "do": "kill", "when": "after", "nth": 3}],
     "offset": 3600.0, "passed": 60.0, "names": {"far.test": ["127.0.0.2"]}, "seed": 1,
     "journal": {"top": "/path/to/state", "file": "/path/to/journal"}}

What has struck is appended to the file beside it that ends in `.hits`, a line of JSON each.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Literal, TypeVar

LOOK_SECONDS = 0.005  # a change of the file is seen this soon

T = TypeVar("T")

# As they were before anything was replaced.
_kill, _open, _write, _stat, _sleep, _monotonic = os.kill, os.open, os.write, os.stat, time.sleep, time.monotonic


class Died(BaseException):
    """What ends a thread that nothing can save. No handler of errors is meant to take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    A fault: which calls it strikes, and what it does to them.

    Counted are the calls it fits, since the rule came into force or the process began.
    """

    call: str  # functions of os, or send and recv of sockets: "write|writev|pwrite"
    do: str  # "kill" (-9, itself), "slow", "short" (writes a part and says so), "die" (the thread), or a name of errno
    at: str = "*"  # a pattern of the file's path, or of "host:port"
    when: Literal["before", "middle", "after"] = "before"  # middle: a random part was written
    nth: int = 1  # the first that is struck
    times: int | None = 1  # how many from there on; None: all of them
    share: float = 1.0  # and of these so many, by the dice
    seconds: float = 0.0  # for "slow"
    least: int = 0  # only where there are so many bytes
    begins: str = ""  # only where the bytes begin with these, in hex


class _Armed:
    """A rule in force."""

    def __init__(self, rule: Rule, number: int) -> None:
        self.rule = rule
        self.number = number
        self.begins = bytes.fromhex(rule.begins)
        self.fitting = 0
        self.struck = 0

    def fits(self, place: str, data: bytes) -> bool:
        rule = self.rule
        return len(data) >= rule.least and data.startswith(self.begins) and fnmatchcase(place, rule.at)

    def strikes(self, rng: Random) -> bool:
        rule = self.rule
        self.fitting += 1
        if self.fitting < rule.nth or (rule.times is not None and self.struck >= rule.times):
            return False
        if rule.share < 1.0 and rng.random() >= rule.share:
            return False
        self.struck += 1
        return True


class Control:
    """The control file, as it is by now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._looked = -1.0
        self._known: tuple[int, int] | None = None
        self._rng = Random()
        self._by_call: dict[str, list[_Armed]] = {}
        self._offset = self._passed = 0.0
        self._names: dict[str, list[str]] = {}
        self.journal: dict[str, str] | None = None
        self._look()

    @property
    def offset(self) -> float:
        """Seconds to add to the wall clock."""
        self._look()
        return self._offset

    @property
    def passed(self) -> float:
        """Seconds to add to the clock that timers go by."""
        self._look()
        return self._passed

    @property
    def names(self) -> dict[str, list[str]]:
        """Where names lead that it knows of."""
        self._look()
        return self._names

    def concerns(self, call: str) -> bool:
        """Whether any rule is about that call: most of the time none is, and nothing else is asked."""
        self._look()
        return call in self._by_call

    def strike(self, call: str, place: str, data: bytes = b"") -> Rule | None:
        """The rule that strikes this call now, counted and written down."""
        with self._lock:
            found = None
            for armed in self._by_call.get(call, ()):
                if armed.fits(place, data) and armed.strikes(self._rng) and found is None:
                    found = armed
            if found is None:
                return None
            self._note(found, call, place)
            return found.rule

    def part(self, data: bytes) -> bytes:
        """A random part of it from the beginning: neither nothing nor all, where it is long enough."""
        return data[: self._rng.randrange(1, len(data))] if len(data) > 1 else data

    def _look(self) -> None:
        now = _monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        found = _stat(self._path)
        if (found.st_ino, found.st_mtime_ns) == self._known:
            return
        with self._lock:
            self._known = (found.st_ino, found.st_mtime_ns)
            with open(self._path, encoding="utf-8") as file:
                self._read(json.load(file))

    def _read(self, said: dict[str, Any]) -> None:
        by_call: dict[str, list[_Armed]] = {}
        for number, each in enumerate(said.get("rules", ())):
            armed = _Armed(Rule(**each), number)
            for call in armed.rule.call.split("|"):
                by_call.setdefault(call, []).append(armed)
        self._rng = Random(said.get("seed", 0))
        self._offset, self._passed = float(said.get("offset", 0.0)), float(said.get("passed", 0.0))
        self._names = said.get("names", {})
        self.journal = said.get("journal")
        self._by_call = by_call

    def _note(self, armed: _Armed, call: str, place: str) -> None:
        line = {"pid": os.getpid(), "at": _monotonic(), "call": call, "place": place, "fitting": armed.fitting}
        fd = _open(self._path + ".hits", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            _write(fd, json.dumps({**line, "number": armed.number, "rule": asdict(armed.rule)}).encode() + b"\n")
        finally:
            os.close(fd)


def under(rule: Rule | None, place: str, perform: Callable[[], T], part: Callable[[], T] | None = None) -> T:
    """Do it as the rule wants it done; `part` does some of it."""
    if rule is None:
        return perform()
    if rule.do == "short":
        return perform() if part is None else part()
    if rule.when == "after":
        try:
            return perform()
        finally:  # however it ended
            _act(rule, place)
    if rule.when == "middle" and part is not None:
        part()
    _act(rule, place)
    return perform()


def _act(rule: Rule, place: str) -> None:
    if rule.do == "kill":
        _kill(os.getpid(), signal.SIGKILL)
    elif rule.do == "slow":
        _sleep(rule.seconds)
    elif rule.do == "die":
        raise Died(f"{rule.call} {place}")
    else:
        code = getattr(errno, rule.do)
        raise OSError(code, os.strerror(code), place)
