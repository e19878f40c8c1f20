"""`cloud-insight dashboards` and `widgets`: what there is to take pictures of."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import state as states
from agent.cli.insight.choosing import thing
from agent.cli.insight.reach import Sink, reach
from agent.ncloud.cloud_insight import CloudInsight, Dashboard, Widget

Board = Annotated[str, typer.Argument(metavar="DASHBOARD", help="Its id, or its name.")]


def dashboards(sink: Sink = None, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """List the account's dashboards."""
    found = reach(config, sink).ask(lambda client: client.dashboards())
    if as_json:
        states.print_json([each._asdict() for each in found])
    elif not found:
        print("no dashboards")
    else:
        states.print_table(("id", "name"), found)


def widgets(dashboard: Board, sink: Sink = None, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """List a dashboard's widgets."""
    board, found = reach(config, sink).ask(lambda client: contents(client, dashboard))
    if as_json:
        states.print_json([each._asdict() for each in found])
    elif not found:
        print(f"no widgets in {states.printable(board.name)}")
    else:
        states.print_table(("id", "name"), [(each.id, each.name) for each in found])


async def contents(client: CloudInsight, text: str) -> tuple[Dashboard, list[Widget]]:
    """The dashboard with that id or name, and its widgets. Ends the command where there is none."""
    board = thing("dashboard", text, await client.dashboards())
    return board, await client.widgets(board.id)
