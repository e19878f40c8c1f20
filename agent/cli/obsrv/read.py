"""`obsrv dataset read`: a dataset as Obsrv has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import orjson
import typer

from agent.cli import state as states
from agent.cli.obsrv.reach import Sink, TokenFile, reach
from agent.service.exits import Exit
from agent.sinks.obsrv.findings import FIELDS


def read(
    dataset: Annotated[str | None, typer.Argument(help="Id of a dataset. [default: that of the sink]")] = None,
    config: states.Config = None,
    sink: Sink = None,
    token_file: TokenFile = None,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="The draft. Of a published dataset that has none, Obsrv makes one at this."),
    ] = False,
    as_json: states.AsJson = False,
) -> None:
    """Show a dataset as it is published, or its draft: status, batches, duplicates, time, validation, schema."""
    chosen = reach(config, sink, token_file)
    name = dataset or chosen.dataset
    row = chosen.ask(lambda datasets: datasets.read(name, FIELDS, draft=draft))
    if row is None:
        other = "is it published (no --draft)?" if draft else "it may be a draft (--draft), or this its alias"
        states.fail(f"there is no {'draft' if draft else 'published dataset'} {name}: {other}", Exit.REFUSED)
    if as_json:
        states.print_json(row)
    else:
        states.print_table(("setting", "value"), list(_settings("", row)))


def _settings(path: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, each in value.items():
        at = f"{path}.{name}" if path else name
        if at == "data_schema" and isinstance(each, Mapping):
            yield from ((f"{at}: {field}", kind) for field, kind in _fields("", each))
        elif isinstance(each, Mapping) and each:
            yield from _settings(at, each)
        else:
            yield at, each if isinstance(each, str) else orjson.dumps(each).decode()


def _fields(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties")
    for name, each in properties.items() if isinstance(properties, Mapping) else ():
        at = f"{path}.{name}" if path else name
        if isinstance(each, Mapping) and each.get("properties"):
            yield from _fields(at, each)
        else:
            yield at, str(each.get("type", "any")) if isinstance(each, Mapping) else "any"
