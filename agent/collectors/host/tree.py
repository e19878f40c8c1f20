"""Where a machine's /proc and /sys are read: this machine's own, or another's below a prefix (a sidecar's `/host`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tree:
    """
    The files of one machine. Paths are given as that machine knows them: `/proc/stat`.

    Do not read through absolute symbolic links such as `/var/run`: they leave the prefix.
    """

    root: str = ""  # no slash at the end; empty: this machine, as this process sees it

    def path(self, path: str) -> str:
        """Where that file is found from here."""
        return self.root + path

    def read(self, path: str) -> bytes:
        """The whole of a file. Raises OSError."""
        with open(self.root + path, "rb", buffering=0) as file:
            return file.readall()

    def read_if_there(self, path: str) -> bytes | None:
        """The whole of a file, or None where there is none (or it has no value at the moment)."""
        try:
            return self.read(path)
        except OSError:
            return None

    @property
    def mounts(self) -> bytes:
        """The mount table of the machine. Raises OSError."""
        # Process 1's, because a hardened service sees its own: everything read-only, homes hidden.
        try:
            return self.read("/proc/1/mounts")
        except OSError:
            if self.root:
                raise  # `self` would be this process: the container's mounts, not the host's
            return self.read("/proc/self/mounts")  # hidepid


def text(raw: bytes) -> str:
    """A name out of the kernel as a tag: names are bytes there, and tags are UTF-8."""
    return raw.decode("utf-8", "replace")


def share(part: float, whole: float) -> float:
    """Percent, in four decimals: a float's seventeen digits are paid for in every sink."""
    return round(100.0 * part / whole, 4) if whole > 0 else 0.0
