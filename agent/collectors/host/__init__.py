"""
The metrics of the machine, one record a group and instance, under Telegraf's field names (others: naming/).

    collector.py ── each tick ─▸ sampling.py ── in a thread ─▸ cpu, disk, diskio, net … ─▸ machine.py
                                                                                              ▴
      this machine    through_psutil.py, on Linux with what psutil lacks: linux.py ───────────┤
      `host_root`     through_proc.py ─▸ tree.py ─▸ the machine's /proc and /sys ─────────────┘

psutil is the reader. It cannot follow a prefix: it can be pointed at another /proc for the whole
process alone, and at another /sys not at all.
"""

from agent.collectors.host.collector import Host

__all__ = ["Host"]
