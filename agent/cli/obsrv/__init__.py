"""`obsrv`: datasets of Obsrv, and what is in them."""

from __future__ import annotations

import typer

from agent.cli.obsrv.create import create, example
from agent.cli.obsrv.query import query
from agent.cli.obsrv.read import read
from agent.cli.obsrv.verify import verify

app = typer.Typer(no_args_is_help=True, help="Datasets of Obsrv, and what is in them.")
_dataset = typer.Typer(no_args_is_help=True, help="Make the dataset that a sink sends to, look at it, check it.")


@app.callback()
def about() -> None:
    """
    Make, look at and check the dataset that an obsrv sink sends to, and ask what is in it.

    Works with the options and tokens of a sink of the configuration, beside a running agent.
    """


@_dataset.callback()
def about_datasets() -> None:
    """Make the dataset that a sink sends to, look at it, check it against what the sink will send."""


for each in (example, create, read, verify):
    _dataset.command()(each)
app.add_typer(_dataset, name="dataset")
app.command()(query)
