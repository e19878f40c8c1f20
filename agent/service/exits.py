"""How the program ends: the exit codes of sysexits.h that it uses, two of its own, and which error means which."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import IntEnum
from typing import Self

from agent import errors


class Exit(IntEnum):
    """What an exit code says (docs/operations.md has the same table)."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done, or stopped as asked"
    USAGE = 64, "the command line is wrong"
    REFUSED = 65, "what was given is refused: a file with mistakes, an id nobody has, dead letters that stay"
    UNAVAILABLE = 69, "a far side, or an address to listen on, cannot be had"
    SOFTWARE = 70, "a bug: please report it with the traceback"
    CANNOT_CREATE = 73, "the state directory cannot be made or used"
    INPUT_OUTPUT = 74, "reading or writing failed, or the books do not balance"
    TEMPORARY = 75, "try again later: another agent works in this state directory, or the work was not done to its end"
    UNVERIFIED = 76, "what was sent could not be read back from the far side, or it lacks what the configuration needs"
    NO_PERMISSION = 77, "the operating system or a far side refuses this user"
    CONFIG = 78, "the configuration is wrong, or the state directory is of a newer version"
    RUN_FAILED = 79, "the job or workflow that was waited for has failed"
    RUN_CANCELED = 80, "the job or workflow that was waited for was canceled"


# The first that fits counts, so a child stands before its parent.
_MEANS: tuple[tuple[type[BaseException], Exit], ...] = (
    (errors.ConfigError, Exit.CONFIG),
    (errors.StateTooNew, Exit.CONFIG),
    (errors.StateLocked, Exit.TEMPORARY),
    (errors.StateRefused, Exit.NO_PERMISSION),
    (errors.StateError, Exit.CANNOT_CREATE),
    (errors.ListenError, Exit.UNAVAILABLE),
    (errors.Unverified, Exit.UNVERIFIED),
    (errors.AuthExpired, Exit.NO_PERMISSION),
    (errors.DeliveryError, Exit.UNAVAILABLE),
    (PermissionError, Exit.NO_PERMISSION),
    (ConnectionError, Exit.UNAVAILABLE),
    (TimeoutError, Exit.UNAVAILABLE),
)
_LISTEN = {errno.EADDRINUSE, errno.EADDRNOTAVAIL}


def exit_code(error: BaseException) -> Exit:
    """The code to end with when this error ended the program. Of a group, the most telling one counts."""
    codes = [_code(leaf) for leaf in leaves(error)]
    return next((code for code in codes if code is not Exit.SOFTWARE), Exit.SOFTWARE)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _code(error: BaseException) -> Exit:
    for kind, code in _MEANS:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError):
        return Exit.UNAVAILABLE if error.errno in _LISTEN else Exit.INPUT_OUTPUT
    return Exit.SOFTWARE
