"""`obsrv`: datasets of Obsrv, and what is in them."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Datasets of Obsrv, and what is in them.")
