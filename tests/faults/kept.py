"""What came of the rows in their full form: a file a row under tests/faults/results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.rows import Row
from faults.verdict import Outcome

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of a row."""

    id: str
    day: str  # YYYY-MM-DD
    version: str  # the agent's
    seed: int
    times: int
    seconds: float
    broken: list[str]  # what did not hold
    outcome: dict[str, Any]


def keep(row: Row, outcome: Outcome, **run: Any) -> Result:
    """Keep what came of a row, in place of what was kept before."""
    # asdict makes a Counter of the pairs of a Counter.
    result = Result(
        id=row.id, broken=outcome.against(row.loss), outcome={**asdict(outcome), "told": dict(outcome.told)}, **run
    )
    RESULTS.mkdir(exist_ok=True)
    _file(row).write_text(json.dumps(asdict(result), indent=1, sort_keys=True) + "\n")
    return result


def kept(row: Row) -> Result | None:
    """What was kept of a row, if it ever ran."""
    path = _file(row)
    return Result(**json.loads(path.read_text())) if path.exists() else None


def _file(row: Row) -> Path:
    return RESULTS / f"{row.id}.json"
