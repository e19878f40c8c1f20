"""
Other names for the same records: a table a naming, and one way to go through it.

    names.py ── what a table says of a field ─▸ otel.py, ncloud.py ── the tables ─▸ renaming.py ── readings ─▸ readings
    catalog.py ── Telegraf's fields, and what they are ─▸ page.py ── docs/host-metrics.md

Under Telegraf's names nothing here is loaded.
"""

from agent.collectors.host.naming.ncloud import NCLOUD
from agent.collectors.host.naming.otel import OTEL
from agent.collectors.host.naming.renaming import renamed as _renamed
from agent.collectors.host.readings import Reading

NAMINGS = {"otel": OTEL, "ncloud": NCLOUD}


def renamed(readings: list[Reading], naming: str) -> list[Reading]:
    """The same readings, whose rows have the names and units of that naming."""
    return _renamed(readings, NAMINGS[naming])
