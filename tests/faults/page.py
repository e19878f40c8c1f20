"""
docs/reliability.md out of tests/faults.toml, what was kept of the full runs, and tests/mutants.toml.

    python -m faults.page              write it (from the folder `tests`)
    python -m faults.page --check      fail where it says something else than the results (`make check`)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import mutants

from faults import kept
from faults.rows import GROUPS, Row, of, rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

HEAD = """# What it loses

Made by `python -m faults.page` out of the results of `make reliability`, by hand nothing.

Whole agents as processes, at their shipped defaults but for addresses, sizes, and timeouts that make a fault come
sooner. A publisher writes down which messages its broker has acknowledged (QoS 1), a receiver what it has stored; the
difference is the loss. The agent's own books are held against it and have no say in it. The rows were written down in
[tests/faults.toml](../tests/faults.toml) before they ran: what is done, how often, and whether anything may be lost.

- *lost*: acknowledged to a publisher and not stored. `none` may be lost where that is said; elsewhere as many as the
  agent's own books name, to the record.
- *again*: batches that came a second time under their own id, which the receiver knows and drops. *twice*: copies that
  were stored in spite of that.

`make test` plays every row in a quick form. `make reliability` plays them in full, an hour and a half;
`cd tests && python -m faults ROW` one of them, `--seed` the very same once more.
"""
LIMITS = """## What these figures do not say

- A row is one run, the last one; seeds differ. Three earlier runs of `damage-any`, 10,000 trials each, had one or two
  in which damage was not told as it was. Most of what they found is mended; what is known to be left is damage of
  several files at once (all segments, cursor and head mark of a lane; the last segment and one slot of its mark).
- *unknown* under `damage-any` is what lies beyond everything that survived: the agent says "at most one segment" there
  and cannot count it, so those records are taken as told.
- The rows ran on several commits of one day, two to six at a time on two cores.
- `near-silent-line` lost up to 957 of 45,000 when it first ran: a session under load stopped reading for good. It is
  mended, and the row's run is of after that. The lines that `descriptors` allows in the log were set at 5 and are 12.
- `clock-1970` once had 1 of 1,000 told as expired that was seconds old: it had come in right before the clock was set
  right. It is mended, and the clock rows ran again after that.
- In rows with several kills in a row a second copy is counted and not forbidden: acknowledgements that are in doubt may
  be forgotten with their delivered segment, and what comes again is then stored again. Nothing is lost by it.
- `kill-at-evict` waits for 4,000 messages before each kill, so that the spool outlasts what is in flight. Without that
  a message that was given up could come again, and be both told as lost and stored.
- The hour of random trouble ran before the sink `object_storage` and `[[dataflow]]` came; neither is in it.
"""
TITLES = {
    "kills": "The process is gone, or the machine is",
    "far": "What clouds, and the way to them, do",
    "near": "What brokers and devices do",
    "machine": "What the machine does",
    "damage": "Damaged files",
    "long": "Long times and crowds",
    "reload": "Reload",
}
PROMISES = (
    "Ack after commit",
    "No sink can hurt another",
    "A batch keeps its name",
    "Retry ends by the operator's limits alone",
    "A bad record costs itself, and blame needs contrast",
    "The spool always opens",
    "The books balance",
    "Nothing secret is printed",
)
SOAK = Row(id="soak", group="kills", does="", times=1, quick=1, loss="none")


def made() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_tables(), LIMITS, *_peers(), *_soak(), *_mutants()])


def _tables() -> Iterator[str]:
    for group in GROUPS:
        yield f"## {TITLES[group]}\n"
        yield "| | what is done | times | acknowledged | may be lost | lost | the agent says | again | twice |"
        yield "|---|---|---|---|---|---|---|---|---|"
        yield from map(_line, of(group))
        yield ""
        for row in of(group):
            yield from _notes(row)


def _line(row: Row) -> str:
    result = kept.kept(row)
    if result is None:
        return f"| {row.id} | {row.does} | not run | | {row.loss} | | | | |"
    found = result.outcome
    told = ", ".join(f"{count:,} {fate}" for fate, count in sorted(found["told"].items())) or "0"
    lost = f"{found['lost']:,}" + (" **does not hold**" if result.broken else "")
    return (
        f"| {row.id} | {row.does} | {result.times:,} | {found['sent']:,} | {row.loss} | {lost} | {told} "
        f"| {found['again']:,} | {found['twice']:,} |"
    )


def _notes(row: Row) -> Iterator[str]:
    result = kept.kept(row)
    if result is None:
        return
    for problem in result.broken:
        yield f"- **{row.id} does not hold**: {problem}"
    if notes := result.outcome["notes"]:
        yield f"- {row.id}: " + "; ".join(f"{name} {_said(value)}" for name, value in notes.items())


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _peers() -> Iterator[str]:
    yield "\n## The same done to another agent\n"
    yield (
        "Fluent Bit 5.1.1, built from its source (gcc, no jemalloc), MQTT in and HTTP out, one run each on a machine "
        "of the same kind.\nThis agent's figures are those of the tables above.\n"
    )
    yield "| | what is done | Fluent Bit | this agent |"
    yield "|---|---|---|---|"
    for row in rows():
        if row.peer:
            result = kept.kept(row)
            found = None if result is None else result.outcome
            ours = "not run" if found is None else f"{found['lost']:,} of {found['sent']:,} lost"
            if found is not None and found["lost"]:
                ours += ", each of them named in its books" if found["lost"] == sum(found["told"].values()) else ""
            yield f"| {row.id} | {row.does} | {row.peer} | {ours} |"
    yield ""


def _soak() -> Iterator[str]:
    yield "## Random trouble\n"
    result = kept.kept(SOAK)
    if result is None:
        yield "`make soak` (`SOAK=1h`) has not been run.\n"
        return
    found, notes = result.outcome, result.outcome["notes"]
    events = ", ".join(f"{name} {count}" for name, count in notes["events"].items())
    yield (
        f"`make soak`, {result.day}, seed {result.seed}: {notes['seconds']:,} s of {events}.\n"
        f"{found['sent']:,} messages acknowledged, for each receiver that wants them; {found['lost']:,} lost, "
        f"{found['again']:,} batches came again under their ids, {found['twice']:,} copies stored twice, of what the "
        f"publisher itself sent again as well.\n"
        f"All there {notes['caught_up_seconds']} s after the last of it; peak RSS {notes['peak_rss_mib']} MiB; "
        f"`audit` balanced; log lines {notes['log_lines']}.\n"
    )
    for problem in result.broken:
        yield f"- **does not hold**: {problem}"


def _mutants() -> Iterator[str]:
    yield "## Broken on purpose\n"
    yield (
        "`make mutants` breaks each promise in a copy of the project and runs the test that is named for it: it passes "
        "without the change, and fails with it.\n"
    )
    yield "| promise | what is changed | in | the test that fails | |"
    yield "|---|---|---|---|---|"
    results = mutants.kept()
    for mutant in mutants.mutants():
        result = results.get(mutant.id)
        said = "not run" if result is None else "seen" if result.holds else "**not seen**"
        promise = f"{mutant.promise}. {PROMISES[mutant.promise - 1]}"
        yield f"| {promise} | {mutant.does} | `{mutant.file}` | `{mutant.test}` | {said} |"
    yield ""


def main() -> None:
    text = made()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        print(PAGE)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"{PAGE.name} says something else than the results: cd tests && python -m faults.page")


if __name__ == "__main__":
    main()
