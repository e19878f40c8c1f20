"""
What the agent says while it runs: structlog on standard error, text for a person or JSON for a program.

Import this module before anything else that imports structlog: structlog takes rich in wherever rich
is installed, for tracebacks that are not used here, and that is 4 MB and 40 ms of every start.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal

_UNDECIDED = object()
_rich = sys.modules.get("rich", _UNDECIDED)
if _rich is _UNDECIDED:
    sys.modules["rich"] = None  # type: ignore[assignment] # the documented way to make an import fail
try:
    import structlog
finally:
    if _rich is _UNDECIDED:
        del sys.modules["rich"]

from agent.schema import Secret, hidden  # noqa: E402 (structlog first)

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog's, for the journal
_COLOUR = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_OFF = "\x1b[0m"

Event = structlog.types.EventDict
Render = Callable[[Any, str, Event], bytes]


def setup_logging(level: Level = "info", format: Format = "auto", *, hide: Iterable[Secret] = ()) -> None:
    """
    Send every log line to standard error, from `level` up; libraries' own from warning up.

    `auto` is text on a terminal, JSON under systemd, text without colours elsewhere. `hide`: secrets
    whose text is looked for in every line, besides those handed over as values. May be called again.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _cleaner(list(hide)),
            _render(format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,  # so that a reload changes level and format
    )
    logging.root.handlers[:] = [_Foreign()]
    logging.root.setLevel(max(number, logging.WARNING))
    # Otherwise warnings of libraries go past all this, as bare text.
    logging.captureWarnings(capture=True)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _ignored


def _ignored(what: sys.UnraisableHookArgs) -> None:
    """What a library raised where nobody could catch it: a line like any other, in place of a bare traceback."""
    reason = f"{what.exc_type.__name__}: {what.exc_value}"
    structlog.get_logger().warning("exception ignored", reason=reason, where=str(what.err_msg or what.object))


def secrets_in(config: object) -> Iterator[Secret]:
    """Every secret in a configuration, however deep."""
    if isinstance(config, Secret):
        yield config
    elif is_dataclass(config) and not isinstance(config, type):
        for field in fields(config):
            yield from secrets_in(getattr(config, field.name))
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from secrets_in(value)
    elif isinstance(config, list | tuple | set | frozenset):
        for value in config:
            yield from secrets_in(value)


def under_systemd() -> bool:
    """Whether a service manager started this process, or one of its parents."""
    return "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ


def _to_journal() -> bool:
    # As sd_journal's documentation has it: the variable alone is inherited by anything.
    try:
        stat = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _render(format: Format) -> Render:
    terminal = os.isatty(2)
    journal = _to_journal()
    if format == "json" or (format == "auto" and under_systemd() and not terminal):
        return _Json(journal=journal)
    colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    clock = None if journal else "%H:%M:%S" if terminal else "%Y-%m-%dT%H:%M:%S%z"
    return _Text(colours=colours, clock=clock, journal=journal)


class _Lines:
    """Where finished lines go. A line that cannot be written is dropped: there is nowhere left to say it."""

    def __init__(self, *_: object) -> None: ...

    def msg(self, line: bytes) -> None:
        # Not through sys.stderr: its buffer keeps what a full disk refused and fails again at the end,
        # and a log line must never be what stops a loop.
        try:
            while line:
                line = line[os.write(2, line) :]
        except OSError:
            pass

    debug = info = warning = error = critical = log = msg


class _Foreign(logging.Handler):
    """Takes over what libraries say through the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 a library's broken format string: the handler's own way to say so
            self.handleError(record)


def _cleaner(secrets: list[Secret]) -> Callable[[Any, str, Event], Event]:
    """A processor that makes every value plain, and free of secrets."""

    def mask(text: str) -> str:
        for secret in secrets:
            try:
                word = secret.reveal()
            except OSError:  # cannot be read, so nobody has it to print
                continue
            text = hidden(text, [word])
        return text

    def clean(value: object) -> Any:
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case str():
                return mask(value)
            case bytes():
                return mask(value.decode("utf-8", "backslashreplace"))
            case Mapping():
                return {mask(str(key)): clean(inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [clean(inner) for inner in value]
            case _:
                return mask(str(value))  # Secret: "***"

    def process(_logger: Any, _method: str, event: Event) -> Event:
        return {key: clean(value) for key, value in event.items()}

    return process


class _Json:
    """One JSON object a line: timestamp, level, event, and what was said with it."""

    def __init__(self, *, journal: bool) -> None:
        self._journal = journal

    def __call__(self, _logger: Any, _method: str, event: Event) -> bytes:
        level = event.pop("level")
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"timestamp": stamp, "level": level, "event": event.pop("event", ""), **event}
        text = _plain(json.dumps(line, ensure_ascii=False))
        # The journal takes the prefix off and files the line under its priority.
        prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
        return f"{prefix}{text}\n".encode("utf-8", "backslashreplace")


class _Text:
    """A line to read: when, how bad, what, and key=value. Nothing in it can forge a line or move a cursor."""

    def __init__(self, *, colours: bool, clock: str | None, journal: bool) -> None:
        self._colours = colours
        self._clock = clock  # None: the journal keeps the time
        self._journal = journal

    def __call__(self, _logger: Any, _method: str, event: Event) -> bytes:
        level = event.pop("level")
        exception = event.pop("exception", "")
        what = _printable(str(event.pop("event", "")))
        pairs = " ".join(self._pair(key, value) for key, value in event.items())
        word = f"{_COLOUR[level]}{level:<7}{_OFF}" if self._colours else f"{level:<7}"
        when = time.strftime(self._clock) + " " if self._clock else ""
        lines = [f"{when}{word} {f'{what:<28} {pairs}' if pairs else what}"]
        lines += [f"  {_printable(line)}" for line in exception.splitlines()]
        prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
        return "".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace")

    def _pair(self, key: str, value: object) -> str:
        text = value if isinstance(value, str) else _plain(json.dumps(value, ensure_ascii=False))
        if isinstance(value, str) and (not text or not text.isprintable() or any(mark in text for mark in ' "=')):
            text = _plain(json.dumps(text, ensure_ascii=False))
        return f"\x1b[36m{_printable(key)}{_OFF}={_printable(text)}" if self._colours else f"{_printable(key)}={text}"


def _plain(text: str) -> str:
    """JSON without what moves a cursor or turns a line around: JSON itself lets C1 codes and DEL stand as they are."""
    if text.isprintable():
        return text
    escaped = (char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
    return "".join(escaped).replace("\x7f", "\\u007f")  # which is ASCII, and so left as it is by `dumps`


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
