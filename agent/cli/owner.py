"""What changes a state directory does so as its owner: root leaves nothing there that the agent cannot write."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# capabilities(7) and capset(2).
_CAP_DAC_READ_SEARCH = 1 << 2
_VERSION_3 = 0x20080522


def become_owner(directory: Path) -> Path:
    """
    Where this is root and the directory another user's, become that user; the directory, as it can be reached then.

    Reading stays root's where the system lets it: secrets, certificates and the program itself may be for
    root alone, and the directory below one that only root may enter (systemd's /var/lib/private). To be
    called before there are threads.
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
    _read_as_before()
    return directory if os.access(directory, os.W_OK | os.X_OK, effective_ids=True) else Path(f"/proc/self/fd/{fd}")


def _read_as_before() -> None:
    """Take back the one capability that reads everything and writes nothing; without it root's files are closed."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, each in two halves
    system = ctypes.CDLL(None)
    if system.capget(header, sets) == 0 and sets[1] & _CAP_DAC_READ_SEARCH:
        sets[0] |= _CAP_DAC_READ_SEARCH
        system.capset(header, sets)
