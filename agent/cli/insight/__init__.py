"""`cloud-insight`: schemas, values, dashboards and widget images of NAVER Cloud Insight."""

from __future__ import annotations

import typer

from agent.cli.insight.dashboards import dashboards, widgets
from agent.cli.insight.image import image
from agent.cli.insight.query import query
from agent.cli.insight.schema import app as schema_app
from agent.cli.insight.send import send

app = typer.Typer(no_args_is_help=True, help="Schemas, values, dashboards and widget images of NAVER Cloud Insight.")


@app.callback()
def about() -> None:
    """
    Look at, make and change what NAVER Cloud Insight has: schemas, values, dashboards and their pictures.

    Works with the keys of a cloud_insight sink of the configuration, beside a running agent.
    """


app.add_typer(schema_app, name="schema")
for command in (send, query, dashboards, widgets, image):
    app.command()(command)
