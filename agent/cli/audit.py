"""`audit`: do the books of a state directory balance?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent import __version__
from agent.cli import state as states
from agent.service.exits import Exit
from agent.spool import CursorReport, Report
from agent.spool import audit as look

FATES = ("delivered", "expired", "evicted", "dead", "damaged", "abandoned")


def audit(state: states.State = None, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """
    Prove that every record is accounted for, or say whose is not (exit 74).

    For each sink: what was taken in = what the ledger says became of it + what is still queued.
    """
    report = look(states.opened(state, config), version=__version__)
    if as_json:
        states.print_json(_plain(report))
    else:
        _print(report)
    if not report.balanced:
        sinks = sorted({finding.sink for finding in report.findings if finding.sink})
        whose = f" of {', '.join(sinks)}" if sinks else ""
        states.fail(f"the books{whose} do not balance", Exit.INPUT_OUTPUT)


def _print(report: Report) -> None:
    print(f"{report.directory} (instance {report.instance or 'unknown'})\n")
    states.print_table(
        ("sink", "lane", "taken in", "=", *FATES, "queued"),
        [
            (
                cursor.sink,
                cursor.lane,
                cursor.head - cursor.start,
                "",
                *(getattr(cursor.ledger, fate) for fate in FATES),
                cursor.queued,
            )
            for cursor in report.cursors
        ],
    )
    letters = report.dead_letters, report.dead_dropped, report.dead_replayed
    if any(letters):
        print()
        states.print_table(
            ("dead letters of", "kept", "dropped", "replayed"),
            [(sink, *(counts.get(sink, 0) for counts in letters)) for sink in sorted(set().union(*letters))],
        )
    print()
    for finding in report.findings:
        print(states.printable(str(finding)))
    if report.balanced:
        print("every record is accounted for")


def _plain(report: Report) -> dict[str, Any]:
    return {
        "directory": str(report.directory),
        "instance": report.instance,
        "balanced": report.balanced,
        "cursors": [_cursor(cursor) for cursor in report.cursors],
        "dead_letters": report.dead_letters,
        "dead_dropped": report.dead_dropped,
        "dead_replayed": report.dead_replayed,
        "findings": [asdict(finding) for finding in report.findings],
    }


def _cursor(cursor: CursorReport) -> dict[str, Any]:
    return {**asdict(cursor), "ledger": cursor.ledger.as_dict()}
