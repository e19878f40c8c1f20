"""
A stand-in for NAVER's gateway with Cloud Insight and Data Flow behind it.

`Sandbox.open` runs it here, `process.start` as a process.
"""

from agent.sandbox.ncloud.gateway import Key
from agent.sandbox.ncloud.schemas import Schema
from agent.sandbox.ncloud.server import Sandbox
from agent.sandbox.ncloud.settings import Settings

__all__ = ["Key", "Sandbox", "Schema", "Settings"]
