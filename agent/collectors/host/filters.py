"""Which mounts, interfaces and devices are reported: globs to take, else everything but the globs to leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate

# What a container runtime makes by the dozen, and what measures nothing.
EXCLUDE_INTERFACES = (
    "lo", "veth*", "docker*", "br-*", "cni*", "flannel*", "cali*", "cilium*", "lxc*", "kube-*", "nodelocaldns",
    "virbr*", "vnet*", "ifb*", "dummy*",
)  # fmt: skip

# zram is memory: its traffic is in swap in and out, and it would count as a disk in every sum.
EXCLUDE_DEVICES = ("loop*", "ram*", "zram*", "fd*", "sr*")

# The directories themselves stay: /var/lib/docker may be a disk of its own. The files in /etc and
# the one in /dev are what a runtime mounts into every container.
EXCLUDE_MOUNTS = (
    "/var/lib/docker/*", "/var/lib/containerd/*", "/var/lib/containers/*", "/var/lib/kubelet/*", "/var/lib/rancher/*",
    "/run/docker/*", "/run/containerd/*", "/run/k3s/*", "/run/user/*", "/snap/*", "/etc/hosts", "/etc/hostname",
    "/etc/resolv.conf", "/dev/termination-log",
)  # fmt: skip

# No disk behind them, or (overlay, squashfs) a disk that is counted elsewhere.
EXCLUDE_FSTYPES = (
    "tmpfs", "devtmpfs", "devfs", "ramfs", "rootfs", "overlay", "aufs", "squashfs", "erofs", "iso9660", "nsfs",
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl",
    "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse", "hugetlbfs", "mqueue", "nfsd", "proc", "pstore",
    "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
)  # fmt: skip


def _pattern(globs: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(translate, globs))) if globs else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Says of a name whether it is reported. What is named in `include` is, and nothing beside it."""

    include: re.Pattern[str] | None
    exclude: re.Pattern[str] | None

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> Filter:
        """Take the names that match `include`; where that is empty, all that do not match `exclude`."""
        return cls(_pattern(include), None if include else _pattern(exclude))

    def takes(self, name: str) -> bool:
        """Is it reported?"""
        if self.include is not None:
            return self.include.match(name) is not None
        return self.exclude is None or self.exclude.match(name) is None

    @property
    def names(self) -> bool:
        """Has an operator named what to take?"""
        return self.include is not None
