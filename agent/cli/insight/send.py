"""`cloud-insight send`: rows of a schema by hand, or from a file, with the result looked at as the sink does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import state as states
from agent.cli.insight.mapped import chosen
from agent.cli.insight.reach import Sink, key_of, reach, say
from agent.cli.insight.rows import Row, RowError, checked, of_pairs, of_text, requests
from agent.errors import DeliveryError, TooLarge
from agent.ncloud.cloud_insight import CloudInsight
from agent.service.exits import Exit, exit_code
from agent.sinks.cloud_insight.fields import Field


def send(
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="One row. [default: rows in JSON, see --file]")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="Product name of its schema. [default: the sink's only schema]")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="JSON: an array of rows, a row, or a row a line; - is standard input.", allow_dash=True),
    ] = None,
    config: states.Config = None,
    sink: Sink = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Send rows to a schema (SendData).

    A success by its status is none until its result says so. Rows are checked against the mapping before any is sent:
    the service drops unknown fields and values of another type without a word.
    """
    way = reach(config, sink)
    wanted = chosen(way, schema)
    rows = _rows(pairs or [], file, wanted.fields)
    key = key_of(wanted.table)
    limits = {"max_rows": way.sink.max_rows, "max_bytes": way.sink.max_bytes}
    taken = way.ask(partial(_sent, key=key, batches=list(requests(rows, **limits)), total=len(rows)))
    if as_json:
        states.print_json({"name": wanted.name, "cw_key": key, "rows": taken})
    else:
        print(f"{taken} row{'s' * (taken != 1)} taken by {wanted.name} (cw_key {key})")


async def _sent(insight: CloudInsight, *, key: str, batches: list[list[Row]], total: int) -> int:
    taken, waiting = 0, batches[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            await insight.send(key, batch)
        except TooLarge:
            if len(batch) == 1:
                say(f"{taken} of {total} rows were taken, then one was too large")
                raise
            middle = len(batch) // 2
            waiting += [batch[middle:], batch[:middle]]
        except DeliveryError:
            say(f"{taken} of {total} rows are known to be taken")
            raise
        else:
            taken += len(batch)
    return taken


def _rows(pairs: list[str], file: Path | None, fields: Sequence[Field]) -> list[Row]:
    """The rows that are given, each fit to be sent. Ends the command where one is not, or there is none."""
    if pairs and file is not None:
        states.fail("expected NAME=VALUE or --file, found both", Exit.USAGE)
    if not pairs and file is None and sys.stdin.isatty():
        states.fail("expected NAME=VALUE, --file, or rows in JSON on standard input", Exit.USAGE)
    try:
        if pairs:
            return [checked(of_pairs(pairs, fields), fields)]
        given = of_text(sys.stdin.buffer.read() if file is None or file == Path("-") else file.read_bytes())
    except RowError as error:
        states.fail(states.printable(str(error)), Exit.USAGE if pairs else Exit.REFUSED)
    except OSError as error:
        states.fail(f"{file}: cannot be read: {error.strerror or error}", exit_code(error))
    if not given:
        states.fail("expected rows, found nothing", Exit.USAGE)
    made = []
    for n, row in enumerate(given, 1):
        try:
            made.append(checked(row, fields))
        except RowError as error:
            states.fail(states.printable(f"row {n}: {error}; nothing was sent"), Exit.REFUSED)
    return made
