"""`dataflow`: jobs, workflows, triggers and statistics of NAVER Data Flow."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Jobs, workflows, triggers and statistics of NAVER Data Flow.")
