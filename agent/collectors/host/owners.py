"""Whose a process is: the name that its user has on the machine that it runs on."""

from __future__ import annotations

import os
import pwd
import time

from agent.collectors.host.tree import Tree, text

USERS = "/etc/passwd"
AGAIN = 60.0  # seconds until the users of another machine are looked up again


class Owners:
    """
    Users by name, those that have none by number.

    Below a prefix the names are those of that machine's /etc/passwd: this container's would be wrong.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names: dict[int, str] = {}
        self._again = float("-inf")

    def of(self, pid: int) -> str:
        """The owner of a process; nothing where it has ended."""
        try:
            uid = os.stat(self._tree.path(f"/proc/{pid}")).st_uid
        except OSError:
            return ""
        if self._tree.root:
            self._look_up()
        elif uid not in self._names:
            self._names[uid] = _here(uid)
        return self._names.get(uid, str(uid))

    def _look_up(self) -> None:
        now = time.monotonic()
        if now >= self._again:
            self._names, self._again = users(self._tree.read_if_there(USERS) or b""), now + AGAIN


def users(raw: bytes) -> dict[int, str]:
    """The names in /etc/passwd by number; lines that are of another form are left out."""
    names: dict[int, str] = {}
    for line in raw.splitlines():
        columns = line.split(b":")
        if len(columns) > 2 and columns[2].isdigit():
            names.setdefault(int(columns[2]), text(columns[0]))
    return names


def _here(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
