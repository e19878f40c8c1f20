"""Files out of what a far side has sent: names that cannot lead anywhere, and nothing half written."""

from __future__ import annotations

import os
import secrets
import unicodedata
from pathlib import Path

LONGEST = 60  # characters of a name: with 4 bytes each, and what is added, less than the 255 that file systems take


def file_name(text: str) -> str:
    """A name for a file out of anybody's text: letters and digits of any script, `_` and `-`; never a path."""
    plain = unicodedata.normalize("NFC", text)
    kept = "".join(char if char.isalnum() or char == "-" else "_" for char in plain)
    parts = [part for part in kept.split("_") if part]
    return "_".join(parts)[:LONGEST] or "unnamed"


def write(path: Path, data: bytes) -> None:
    """Put it there as a whole or not at all; what was there is replaced. Raises OSError."""
    # A name that nobody can have laid a link under: the folder may be anybody's.
    draft = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:  # Ctrl-C, too
        draft.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Let there be no such file. Raises OSError."""
    path.unlink(missing_ok=True)
