"""The command line's front door: `run` goes straight to work, everything else loads what prints for people."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in sys.argv; the exit status is a sysexits code (docs/operations.md)."""
    # Memory is decided by imports: `run` must not load typer and rich (docs/performance.md).
    if len(sys.argv) > 1 and sys.argv[1] == "run":
        from agent.cli.run import main as run

        sys.exit(run(sys.argv[2:]))
    from agent.cli import app

    app()


if __name__ == "__main__":
    main()
