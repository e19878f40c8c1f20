"""`spool`: looks into the spool of a state directory, beside a running agent or without one."""

from __future__ import annotations

from typing import Any

import typer

from agent.cli import state as states
from agent.spool import recovery
from agent.spool.recovery import FoundLane

app = typer.Typer(no_args_is_help=True, help="Look into the spool.")

FATES = ("delivered", "expired", "evicted", "dead", "damaged", "abandoned")


@app.callback()
def about() -> None:
    """Look into the spool. Nothing is changed, and no lock is needed."""


@app.command()
def status(state: states.State = None, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Show the lanes, who reads them and how far, and what became of every record."""
    directory = states.opened(state, config)
    trouble: list[str] = []
    lanes = recovery.lanes(
        directory / "lanes", lambda path, text, _: trouble.append(f"{path.relative_to(directory)}: {text}")
    )
    found = {
        "directory": str(directory),
        "bytes": sum(segment.size for lane in lanes.values() for segment in lane.segments),
        "lanes": {name: _lane(lane) for name, lane in lanes.items()},
        "cursors": [cursor for lane in lanes.values() for cursor in _cursors(lane)],
        "trouble": trouble,
    }
    if as_json:
        states.print_json(found)
    else:
        _print(found)


def _lane(lane: FoundLane) -> dict[str, Any]:
    return {
        "first": lane.segments[0].base if lane.segments else lane.proven,
        "head": lane.proven,
        "segments": len(lane.segments),
        "bytes": sum(segment.size for segment in lane.segments),
    }


def _cursors(lane: FoundLane) -> list[dict[str, Any]]:
    """As on the disk: a running agent is ahead of that by a second at most."""
    return [
        {
            "sink": sink,
            "lane": lane.name,
            "state": "former lane" if cursor.end is not None else "retired" if cursor.retired_ms else "",
            "start": cursor.start,
            "position": cursor.position,
            "queued": (lane.proven if cursor.end is None else cursor.end) - cursor.position,
            "batches": sum(not plan.state.settled for plan in cursor.plans),
            "ledger": cursor.ledger.as_dict(),
        }
        for sink, (_, cursor) in lane.cursors.items()
        if cursor is not None
    ]


def _print(found: dict[str, Any]) -> None:
    print(f"{found['directory']}: {states.size(found['bytes'])} in {len(found['lanes'])} lanes\n")
    states.print_table(
        ("lane", "segments", "size", "from", "to", "records"),
        [
            (
                name,
                lane["segments"],
                states.size(lane["bytes"]),
                lane["first"],
                lane["head"],
                lane["head"] - lane["first"],
            )
            for name, lane in found["lanes"].items()
        ],
    )
    print()
    states.print_table(
        ("sink", "lane", "position", "queued", "batches", *FATES, ""),
        [
            (
                *(cursor[name] for name in ("sink", "lane", "position", "queued", "batches")),
                *(cursor["ledger"][fate] for fate in FATES),
                cursor["state"],
            )
            for cursor in found["cursors"]
        ],
    )
    if found["trouble"]:
        print()
    for text in found["trouble"]:
        print(states.printable(text))
