"""`cloud-insight query`: the values that Cloud Insight has of a metric, as a table and as a plot (QueryData)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, get_args

import typer

from agent.cli import span as spans
from agent.cli import state as states
from agent.cli.insight.choosing import word
from agent.cli.insight.mapped import Mapped, mapped
from agent.cli.insight.reach import Reach, Sink, key_of, reach
from agent.config.messages import did_you_mean
from agent.ncloud.cloud_insight import Aggregation, Interval
from agent.service.exits import Exit

INTERVALS: Mapping[str, Interval] = {name.casefold(): name for name in get_args(Interval)}
AGGREGATIONS: Mapping[str, Aggregation] = {name.casefold(): name for name in get_args(Aggregation)}


def query(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="Its name in the schema.")],
    dimensions: Annotated[
        list[str] | None,
        typer.Argument(metavar="DIMENSION=VALUE...", help="Of which target, such as host=web-1. [default: of all]"),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(help="Product name, or cw_key, of the schema. [default: the sink's only one with that metric]"),
    ] = None,
    last: spans.Last = None,
    since: spans.From = None,
    until: spans.To = None,
    interval: Annotated[str, typer.Option(help=f"Time of one value: {', '.join(INTERVALS.values())}.")] = "Min1",
    aggregation: Annotated[
        str, typer.Option(help=f"What a target's values become in it: {', '.join(AGGREGATIONS.values())}.")
    ] = "AVG",
    across: Annotated[
        str | None, typer.Option(help="What several targets become, likewise. [default: the service's choice]")
    ] = None,
    plot: Annotated[
        bool | None, typer.Option("--plot/--no-plot", help="Draw them, too. [default: on a terminal]")
    ] = None,
    sink: Sink = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Show the values of a metric: a table, and a plot on a terminal.

    There are none where the schema does not aggregate the metric by that interval and function, and those of the last
    minute or two may not have come yet.
    """
    asked = spans.span(last, since, until)
    targets = _dimensions(dimensions or [])
    by, how = word("--interval", interval, INTERVALS), word("--aggregation", aggregation, AGGREGATIONS)
    over = None if across is None else word("--across", across, AGGREGATIONS)
    way = reach(config, sink)
    key, name = _schema(way, schema, metric, targets)
    found = way.ask(
        lambda client: client.query(key, metric, targets, *asked, interval=by, aggregation=how, across=over, name=name)
    )
    if as_json:
        said = {"cw_key": key, "metric": metric, "dimensions": targets, "from": asked.start_ms, "to": asked.end_ms}
        states.print_json({**said, "interval": by, "aggregation": how, "points": found})
        return
    if not found:
        print(f"no values of {states.printable(metric)} from {asked}, by the {how} of {by}")
        return
    states.print_table(("time", metric), [(spans.shown(at), value) for at, value in found])
    if sys.stdout.isatty() if plot is None else plot:
        _draw(found, asked, states.printable(metric))


def _draw(found: Sequence[tuple[int, float]], asked: spans.Span, metric: str) -> None:
    from agent.cli.insight.plot import drawn

    picture = drawn(found, asked, metric)
    try:
        picture.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        print(f"no plot: this terminal's encoding, {sys.stdout.encoding}, has no dots to draw with", file=sys.stderr)
        return
    print(f"\n{picture}")


def _dimensions(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            states.fail(f"expected DIMENSION=VALUE, such as host=web-1, found {text!r}", Exit.USAGE)
        if found.setdefault(name, value) != value:
            states.fail(f"expected {name} once, found {found[name]!r} and {value!r}", Exit.USAGE)
    return found


def _schema(way: Reach, given: str | None, metric: str, targets: Mapping[str, str]) -> tuple[str, str]:
    """The cw_key and the product name, "" where it is not known. Ends the command where they cannot be told."""
    there = mapped(way)
    known = [each for each in there if given in (each.key, each.name)] if given else there
    if given and not known:
        if given.isascii() and given.isdigit():
            return given, ""  # one that the sink does not feed: NAVER's own, say
        labels = [each.label for each in there]
        near = did_you_mean(given, labels)
        states.fail(f"{way.name} has no schema {given!r}; there are {', '.join(labels)}{near}", Exit.USAGE)
    chosen = _with_metric(known, metric)
    dimensions = chosen.table.schema.dimensions
    if strange := [name for name in targets if name not in dimensions]:
        near = did_you_mean(strange[0], dimensions)
        text = f"{chosen.label} has no dimension {strange[0]!r}; there are {', '.join(dimensions)}{near}"
        states.fail(text, Exit.USAGE)
    return key_of(chosen.table), chosen.name if chosen.name.startswith("Custom/") else ""


def _with_metric(known: Sequence[Mapped], metric: str) -> Mapped:
    able = [each for each in known if metric in {measure.name for measure in each.table.measures}]
    labels = ", ".join(each.label for each in able or known)
    if not able:
        names = list(dict.fromkeys(measure.name for each in known for measure in each.table.measures))
        near = did_you_mean(metric, names)
        states.fail(f"{labels}: no metric {metric!r}; there are {', '.join(names)}{near}", Exit.USAGE)
    if len(able) > 1:
        states.fail(f"{metric} is a metric of {labels}: expected --schema with one of them", Exit.USAGE)
    return able[0]
