"""
The state directory: one agent at a time, one format, one name.

    lock  format  instance  lanes/  dead-letters/  damaged/

It opens wherever it can be read. Where it cannot be written (read-only, full), what is missing is made
later, by `prepare`, before the first record is stored.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.errors import StateError, StateLocked, StateRefused, StateTooNew
from agent.spool.head import mark_of
from agent.spool.mark import make_directory, sync_directory

log = structlog.get_logger()

FORMAT = 1
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """A state directory that is ours."""

    path: Path
    instance: str  # 16 hex digits, made once
    version: str
    keep_damaged: int  # bytes of damaged files that are kept to be looked at

    @property
    def lanes(self) -> Path:
        return self.path / "lanes"

    @property
    def dead_letters(self) -> Path:
        return self.path / "dead-letters"

    @property
    def damaged(self) -> Path:
        return self.path / "damaged"

    def prepare(self) -> None:
        """Make what is missing. Raises OSError where the disk does not let us."""
        if not os.access(self.path, os.W_OK):
            code = errno.EROFS if os.statvfs(self.path).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(code, os.strerror(code), str(self.path))
        if not self.lanes.is_dir():
            self.lanes.mkdir(mode=0o700)
            sync_directory(self.path)
        _write_once(self.path / "format", f"{FORMAT} {self.version}\n")
        _write_once(self.path / "instance", f"{self.instance}\n")

    def set_aside(self, path: Path) -> None:
        """Put a damaged file where nobody stumbles over it but a person can look at it."""
        target = self.damaged / f"{path.parent.name}-{path.name}-{secrets.token_hex(4)}"
        try:
            self.damaged.mkdir(mode=0o700, exist_ok=True)
            path.rename(target)
        except OSError as error:
            log.warning("damaged file stays where it is", file=str(path), reason=str(error))
            return
        log.warning("damaged file set aside", file=str(path), to=str(target))
        self._limit_damaged()

    def _limit_damaged(self) -> None:
        kept = sorted(((one.stat().st_mtime, one.stat().st_size, one) for one in self.damaged.iterdir()), reverse=True)
        total = 0
        for place, (_, size, path) in enumerate(kept):
            total += size
            if place and total > self.keep_damaged:
                path.unlink(missing_ok=True)


@contextmanager
def held(path: Path, version: str, keep_damaged: int) -> Iterator[StateDirectory]:
    """Hold the state directory. Raises a StateError and has touched nothing then."""
    try:
        check_format(path, version)
        make_directory(path)
        fd = _lock(path)
    except PermissionError as error:
        raise StateRefused(error.filename or path) from error
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}") from error
    try:
        check_format(path, version)
        yield StateDirectory(path, _instance(path) or secrets.token_hex(8), version, keep_damaged)
    finally:
        os.close(fd)


def check_format(path: Path, version: str) -> None:
    """
    Raise StateTooNew where a newer program has written here.

    It names itself beside its format. A number that this version cannot know, or that none stands beside, is damage.
    """
    try:
        words = (path / "format").read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return
    number = int(words[0]) if words and _NUMBER.fullmatch(words[0]) else None
    if number is not None and number > FORMAT and len(words) > 1 and _numbers(words[1]) > _numbers(version):
        raise StateTooNew(
            f"{path}: written in spool format {number} by version {words[1]};"
            f" this is version {version}, which reads format {FORMAT}"
        )
    if number not in range(1, FORMAT + 1) and (path / "lanes").is_dir():
        log.warning("the format file is damaged, taken as this program's", file=str(path / "format"), format=FORMAT)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]{1,9}", version)))


def _lock(path: Path) -> int:
    fd = _lock_target(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StateLocked(
            f"{path}: another agent works here{_holder(path)}; stop it, or give this one its own [spool] directory"
        ) from None
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # the number is for people; a read-only or full disk holds the lock as well
    return fd


def _lock_target(path: Path) -> int:
    lock = path / "lock"
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # Read-only or full: an existing file, or the directory itself, can be locked too.
        try:
            return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _holder(path: Path) -> str:
    try:
        pid = (path / "lock").read_text(errors="replace").strip()
    except OSError:
        return ""
    return f" (process {pid})" if pid.isdigit() else ""


def _instance(path: Path) -> str | None:
    """The name that was made once: as the head marks have it, which no damage changes, or else the file."""
    written = _written_instance(path)
    named: Counter[str] = Counter()
    for place in (path / "lanes").glob("*/head"):
        mark = mark_of(place.parent)
        try:
            if mark.load() and mark.value is not None and (name := mark.value.get("instance")):
                named[str(name)] += 1
        except OSError:
            continue  # said by whoever reads the lane
    return written if written in named or not named else named.most_common(1)[0][0]


def _written_instance(path: Path) -> str | None:
    try:
        text = (path / "instance").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return text if len(text) == 16 and all(digit in "0123456789abcdef" for digit in text) else None


def _write_once(path: Path, text: str) -> None:
    try:
        if path.read_text(encoding="utf-8", errors="replace").split()[:1] == text.split()[:1]:
            return
    except FileNotFoundError:
        pass
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, text.encode()) != len(text):
            raise OSError(f"{path}: short write")
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)
