"""Forwards host metrics and MQTT messages through a durable spool to Obsrv, files and standard output."""

__version__ = "0.1.0"
SPOOL_FORMAT = 1  # docs/spool-format.md
