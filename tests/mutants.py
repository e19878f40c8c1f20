"""
Break each promise on purpose, and see the test that is named for it fail (tests/mutants.toml).

    python -m mutants [ID ...]        from the folder `tests`; `make mutants`

Each mutation is one change of the agent's source in a copy of the project; the test must pass without it and fail
with it. What came of it is kept in tests/mutants.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

PROJECT = Path(__file__).resolve().parents[1]
TABLE = PROJECT / "tests" / "mutants.toml"
RESULTS = PROJECT / "tests" / "mutants.json"
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")
PATIENCE = 300.0  # seconds; a mutant that hangs its test has failed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change that breaks a promise."""

    id: str
    promise: int
    does: str
    file: str
    before: str
    after: str
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    id: str
    day: str
    seconds: float
    passes_without: bool
    fails_with: bool

    @property
    def holds(self) -> bool:
        """Whether the test tells the difference."""
        return self.passes_without and self.fails_with


def mutants() -> list[Mutant]:
    """All of them. ValueError where two share an id."""
    found = [Mutant(**each) for each in tomllib.loads(TABLE.read_text())["mutant"]]
    if len({each.id for each in found}) != len(found):
        raise ValueError(f"{TABLE.name}: an id stands there twice")
    return found


def kept() -> dict[str, Result]:
    """The results by id."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    return {row["id"]: Result(**row) for row in rows}


def changed(mutant: Mutant, text: str) -> str:
    """The source with the change. LookupError where what is to be changed does not stand there exactly once."""
    if text.count(mutant.before) != 1:
        raise LookupError(
            f"{mutant.id}: in {mutant.file} this is to stand once, and stands {text.count(mutant.before)} times:\n"
            f"{mutant.before}"
        )
    return text.replace(mutant.before, mutant.after)


def run(mutant: Mutant) -> Result:
    """Try the test without the change and with it, in a copy of the project."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "project"
        shutil.copytree(PROJECT, copy, ignore=LEFT_OUT, symlinks=True)
        without = _passes(copy, mutant.test)
        path = copy / mutant.file
        path.write_text(changed(mutant, path.read_text()))
        fails = not _passes(copy, mutant.test)
    return Result(
        id=mutant.id,
        day=time.strftime("%Y-%m-%d"),
        seconds=round(time.monotonic() - began, 1),
        passes_without=without,
        fails_with=fails,
    )


def _passes(project: Path, test: str) -> bool:
    """Whether the test ran and passed. Raises RuntimeError where it did not run at all."""
    # PYTHONPATH puts the copy before the project that is installed.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env=_environment(project),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{test}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    if done.returncode == 0 and " passed" not in done.stdout:
        raise RuntimeError(f"{test}: it was left out, which shows nothing\n{done.stdout[-3000:]}")
    return done.returncode == 0


def _environment(project: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="ID", help="these alone")
    options = parser.parse_args()
    table = mutants()
    if strange := set(options.names) - {mutant.id for mutant in table}:
        parser.error(f"no such mutant: {', '.join(sorted(strange))}")
    console = Console(stderr=True)
    results = kept()
    for mutant in table:
        if options.names and mutant.id not in options.names:
            continue
        with console.status(f"{mutant.id}: {mutant.does}"):
            result = results[mutant.id] = run(mutant)
        said = "the test fails, as it must" if result.holds else "NOT SEEN BY ITS TEST"
        if not result.passes_without:
            said = "THE TEST FAILS WITHOUT IT, TOO"
        console.print(f"{mutant.id}: {said} ({result.seconds} s)", markup=False)
        in_order = [results[each.id] for each in table if each.id in results]
        RESULTS.write_text(json.dumps([asdict(each) for each in in_order], indent=1) + "\n")
    sys.exit(0 if all(results[mutant.id].holds for mutant in table if mutant.id in results) else 1)


if __name__ == "__main__":
    main()
