"""Which exit code stands for which end, and that the documentation says the same."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from agent import errors
from agent.service import Exit, exit_code

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError([errors.Problem("agent.toml:1", "no")]), 78),
        (errors.StateTooNew("format 2"), 78),
        (errors.StateLocked("held by 1"), 75),
        (errors.StateRefused("/var/lib/telemetry-agent"), 77),
        (errors.StateError("not a directory"), 73),
        (errors.ListenError("taken"), 69),
        (errors.Unverified("not found within 180 s"), 76),
        (errors.AuthExpired("the key was refused"), 77),
        (errors.Retryable("503"), 69),
        (PermissionError(errno.EACCES, "no"), 77),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), 69),
        (OSError(errno.EADDRINUSE, "taken"), 69),
        (OSError(errno.EIO, "broken"), 74),
        (ValueError("a bug"), 70),
        (ExceptionGroup("tasks", [ValueError("a bug"), ExceptionGroup("inner", [errors.StateLocked("held")])]), 75),
        (ExceptionGroup("tasks", [ValueError("a bug")]), 70),
    ],
)
def test_an_error_that_ends_the_program_tells_the_host_what_to_do(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_the_codes_are_those_of_sysexits() -> None:
    assert Exit.USAGE == os.EX_USAGE
    assert Exit.REFUSED == os.EX_DATAERR
    assert Exit.UNAVAILABLE == os.EX_UNAVAILABLE
    assert Exit.SOFTWARE == os.EX_SOFTWARE
    assert Exit.CANNOT_CREATE == os.EX_CANTCREAT
    assert Exit.INPUT_OUTPUT == os.EX_IOERR
    assert Exit.TEMPORARY == os.EX_TEMPFAIL
    assert Exit.UNVERIFIED == os.EX_PROTOCOL
    assert Exit.NO_PERMISSION == os.EX_NOPERM
    assert Exit.CONFIG == os.EX_CONFIG


def test_the_documentation_has_every_code_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {str(int(code)): code.meaning for code in Exit}
