"""`cloud-insight`: schemas, values, dashboards and widget images of NAVER Cloud Insight."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Schemas, values, dashboards and widget images of NAVER Cloud Insight.")
