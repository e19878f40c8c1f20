"""
The spool: the durable queue between collectors and sinks.

    append ─▸ writer's thread ─▸ lanes (segment files) ─▸ read ─▸ cursors ─▸ keeper's thread ─▸ marks
                                      ▲ janitor: limits, deletion, head marks

Everything public here is called on the event loop and blocks nowhere.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from agent.spool import dead, heads_of, recovery, roster
from agent.spool.clock import Clock

log = structlog.get_logger()
