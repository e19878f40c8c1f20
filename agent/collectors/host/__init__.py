"""
The metrics of the machine, one record a group and instance, under Telegraf's field names.

    collector.py ── each tick ─▸ sampling.py ── in a thread ─▸ cpu, memory, disk, … ─▸ tree.py ─▸ /proc, /sys

On Linux everything is read from /proc and /sys below `host_root`, because psutil can be pointed at
another /proc only for the whole process, at another /sys not at all, and gives half of the fields;
elsewhere portable.py reads what psutil has.
"""

from agent.collectors.host.collector import Host

__all__ = ["Host"]
