"""agent.toml -> Config: reads and checks, touches no network, starts nothing."""

from agent.config.loading import (
    DEFAULT_PATH,
    CollectorOptions,
    CollectorTable,
    Config,
    SinkTable,
    load,
    resolved,
)

__all__ = ["DEFAULT_PATH", "CollectorOptions", "CollectorTable", "Config", "SinkTable", "load", "resolved"]
