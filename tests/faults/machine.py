"""The rows of the machine: its disk, its clock, its limits, and what an operator sets too small."""

from __future__ import annotations

from faults import machine_clock, machine_disk, machine_limits, machine_spool, machine_threads

__all__ = ["machine_clock", "machine_disk", "machine_limits", "machine_spool", "machine_threads"]
