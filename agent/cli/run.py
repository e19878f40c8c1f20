"""`telemetry-agent run`: the daemon. It loads neither typer nor rich (agent/__main__.py)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from agent.config import DEFAULT_PATH

USAGE = 64  # EX_USAGE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage()
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str]) -> int:
    """Run until asked to stop; gives the exit code (docs/operations.md)."""
    parser = _Parser(prog="telemetry-agent run", description="Collect, spool and deliver until asked to stop.")
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        type=Path,
        metavar="PATH",
        help=f"a file, or a folder of *.toml files; may be given several times (default {DEFAULT_PATH})",
    )
    given = parser.parse_args(list(arguments))
    from agent.service.daemon import daemon

    return daemon(given.config or (DEFAULT_PATH,))
