"""`obsrv query`: what is in a dataset."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from agent.cli import state as states
from agent.cli.obsrv.reach import Sink, TokenFile, reach, say
from agent.service.exits import Exit
from agent.sinks.obsrv.datasets import MOST_ROWS
from agent.sinks.obsrv.verify import datasources


def query(
    sql: Annotated[str | None, typer.Argument(help='Druid SQL: SELECT ... FROM "DATASET" ... LIMIT 10.')] = None,
    count: Annotated[bool, typer.Option("--count", help="How many events there are.")] = False,
    config: states.Config = None,
    sink: Sink = None,
    token_file: TokenFile = None,
    key: Annotated[
        str | None, typer.Option(help="Alias or id of the datasource. [default: those that Obsrv gives by itself]")
    ] = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Ask Obsrv for rows. They are there once Druid has taken them in, which may take minutes.

    Write FROM and LIMIT in capitals between single blanks: Obsrv looks for these words, and adds LIMIT 5000
    where it sees none.
    """
    chosen = reach(config, sink, token_file)
    if (sql is None) is not count:
        states.fail("expected either a query or --count", Exit.USAGE)
    asked = f'SELECT COUNT(*) AS c FROM "{chosen.dataset}"' if sql is None else sql.strip().rstrip(";").rstrip()  # noqa: S608 - the operator's own
    rows = chosen.ask(lambda datasets: datasets.query(asked, [key] if key else datasources(chosen.dataset)))
    if len(rows) >= MOST_ROWS:
        say(f"{len(rows)} rows, which is all that Obsrv gives at a time: there may be more")
    if as_json:
        states.print_json(rows)
    elif count:
        found = rows[0].get("c") if rows else None
        if not isinstance(found, int):
            states.fail(f"expected one row with a number c, found {states.printable(str(rows))}", Exit.UNAVAILABLE)
        print(found)
    elif rows:
        head = list(dict.fromkeys(name for row in rows for name in row))
        states.print_table(
            [states.printable(name) for name in head], [[_cell(row, name) for name in head] for row in rows]
        )
    else:
        print("no rows")


def _cell(row: dict[str, object], name: str) -> object:
    value = row.get(name)
    if isinstance(value, str | float) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return "" if value is None else orjson.dumps(value).decode()
