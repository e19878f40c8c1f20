"""A small file whose content is exchanged as a whole: whoever reads it sees the former one or the new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

# What of it outlives a power cut: neither; the content, under the old name or the new one; and which of the two.
Durable = Literal["nothing", "content", "name"]


def replace_file(path: Path, content: bytes, *, durable: Durable) -> None:
    """Put this in a file's place, for its owner's eyes. Blocks. Raises OSError, and leaves no draft behind then."""
    draft = path.with_suffix(".new")
    try:
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.write(content)
            if durable != "nothing":
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if durable == "name":
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
