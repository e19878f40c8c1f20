"""What changes a state directory does so as its owner: root leaves nothing there that the agent cannot write."""

from __future__ import annotations

import os
from pathlib import Path


def become_owner(directory: Path) -> Path:
    """
    Where this is root and the directory another user's, become that user; the directory, as it can be reached then.

    It may lie below one that only root may enter, as systemd has it for users that it makes itself.
    """
    if os.geteuid() != 0:
        return directory
    owner = directory.stat()
    if owner.st_uid == 0:
        return directory
    # Never closed: the process ends with the command.
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    return directory if os.access(directory, os.W_OK | os.X_OK, effective_ids=True) else Path(f"/proc/self/fd/{fd}")
