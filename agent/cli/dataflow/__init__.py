"""`dataflow`: jobs, workflows, triggers and statistics of NAVER Data Flow."""

from __future__ import annotations

import typer

from agent.cli.dataflow import jobs, stats, triggers, workflows

HELP = """\
Jobs, workflows, triggers and statistics of NAVER Data Flow.

The account is that of [ncloud], or else of the only cloud_insight sink. A running agent is not concerned.
"""

app = typer.Typer(no_args_is_help=True, help=HELP)
app.add_typer(stats.app, name="stats")
app.add_typer(workflows.app, name="workflows")
app.add_typer(jobs.app, name="jobs")
app.add_typer(triggers.app, name="triggers")
