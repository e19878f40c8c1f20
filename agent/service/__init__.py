"""What the host expects of a service: logs, signals, sd_notify and the watchdog, exit codes."""

from agent.service.exits import Exit, exit_code
from agent.service.logs import secrets_in, setup_logging
from agent.service.process import Signals, serve, signals
from agent.service.systemd import extend, notify, ready, reloading, status, stopping
from agent.service.watchdog import Watchdog

__all__ = [
    "Exit",
    "Signals",
    "Watchdog",
    "exit_code",
    "extend",
    "notify",
    "ready",
    "reloading",
    "secrets_in",
    "serve",
    "setup_logging",
    "signals",
    "status",
    "stopping",
]
