"""`cloud-insight image`: a widget's picture as a file, or those of a whole dashboard as a folder with an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, get_args

import typer

from agent.cli import span as spans
from agent.cli import state as states
from agent.cli.insight import files
from agent.cli.insight.choosing import thing, word
from agent.cli.insight.dashboards import Board, contents
from agent.cli.insight.gallery import Gallery, collected
from agent.cli.insight.png import picture
from agent.cli.insight.reach import Reach, Sink, reach
from agent.ncloud.cloud_insight import CloudInsight, Resolution
from agent.service.exits import Exit, exit_code

RESOLUTIONS: Mapping[str, Resolution] = {name: name for name in get_args(Resolution)}


def image(
    dashboard: Board,
    widget: Annotated[str | None, typer.Argument(metavar="[WIDGET]", help="Its id, or its name.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file, or with --all the folder. [default: the widget's name .png]"),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Of every widget, into a folder with an index.html.")
    ] = False,
    last: spans.Last = None,
    since: spans.From = None,
    until: spans.To = None,
    resolution: Annotated[
        str, typer.Option(help="auto: values as the dashboard shows them; high: at shorter intervals.")
    ] = "auto",
    sink: Sink = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Save the picture of a widget, a PNG of 800 x 600.

    What is not a PNG, or not a whole one, is not saved. With --all a widget that fails does not stop the others: the
    index names it, and the command ends with the code of its error.
    """
    asked, detail = spans.span(last, since, until), word("--resolution", resolution, RESOLUTIONS)
    if everything and widget is not None:
        states.fail("expected a widget or --all, found both", Exit.USAGE)
    if everything and output is None:
        states.fail("expected -o FOLDER with --all", Exit.USAGE)
    if not everything and widget is None:
        states.fail("expected a widget, or --all; `cloud-insight widgets DASHBOARD` lists them", Exit.USAGE)
    if not everything and output is not None and output.exists() and not output.is_file():
        states.fail(f"{output}: expected a file's name, found something that is no file", Exit.USAGE)
    way = reach(config, sink)
    if output is not None and everything:
        _all(way, dashboard, asked, detail, output, as_json=as_json)
    elif widget is not None:
        _one(way, dashboard, widget, asked, detail, output, as_json=as_json)


def _one(
    way: Reach,
    dashboard: str,
    widget: str,
    asked: spans.Span,
    resolution: Resolution,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    async def job(client: CloudInsight) -> tuple[str, bytes]:
        board, there = await contents(client, dashboard)
        chosen = thing("widget", widget, there)
        return chosen.name, await picture(client, board.id, chosen.id, asked, resolution)

    name, data = way.ask(job)
    # What a link leads to is replaced, not the link: that may be /dev/stdout.
    path = Path(f"{files.file_name(name)}.png") if output is None else output.resolve()
    try:
        files.write(path, data)
    except OSError as error:
        states.fail(f"{path}: the picture was not saved: {error.strerror or error}", exit_code(error))
    if as_json:
        said = {"file": str(path), "bytes": len(data), "widget": name, "from": asked.start_ms, "to": asked.end_ms}
        states.print_json(said)
    else:
        print(f"{path}: {states.printable(name)}, {asked}, {states.size(len(data))}")


def _all(way: Reach, dashboard: str, asked: spans.Span, resolution: Resolution, folder: Path, *, as_json: bool) -> None:
    async def job(client: CloudInsight) -> Gallery:
        board, there = await contents(client, dashboard)
        return await collected(client, board, there, asked, resolution, folder)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        gallery = way.ask(job)
    except OSError as error:
        states.fail(f"{folder}: the pictures were not saved: {error.strerror or error}", exit_code(error))
    if as_json:
        states.print_json(gallery.to_dict())
    else:
        saved = len(gallery.pictures) - len(gallery.failed)
        print(
            f"{gallery.index}: {saved} of {len(gallery.pictures)} widgets of {states.printable(gallery.name)}, {asked}"
        )
    if gallery.failed:
        for each in gallery.failed:
            typer.echo(f"no picture of {states.printable(each.name)}: {states.printable(each.problem)}", err=True)
        raise typer.Exit(gallery.code)
