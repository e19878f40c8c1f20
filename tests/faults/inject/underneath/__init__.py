"""
Faults of the operating system under a program that knows nothing of them.

The functions of `os`, `io`, `socket` and `time` that reach files, sockets and the wall clock are replaced by ones that
look into the control file first (rules.py) and, for power cuts, write down what they did (journal.py).
"""

from __future__ import annotations

from . import clocks, files, names, sockets
from .journal import Journal
from .rules import Control


def install(path: str) -> None:
    """From here on every call obeys the control file at that path."""
    control = Control(path)
    journal = Journal.begun(control.journal)
    files.install(control, journal)
    sockets.install(control)
    clocks.install(control)
    names.install(control)
