"""`dead-letters replay` and `drop`: through the running agent, or with the lock in hand where none runs."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from agent.cli import alone, control
from agent.cli import state as states
from agent.cli.control import NoAgent, NotDone
from agent.cli.letters import found
from agent.cli.owner import become_owner
from agent.cli.progress import Show, shown
from agent.config import DEFAULT_PATH, Config, load
from agent.delivery.replay import Outcome, Wanted
from agent.errors import ConfigError
from agent.service.exits import Exit
from agent.spool.lines import Letter, identity, sink_of

What = Literal["replay", "drop"]

Sink = Annotated[str | None, typer.Option(help="Those of this sink.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="This one, as the list has it; may be repeated.")]
Everything = Annotated[bool, typer.Option("--all", help="Those of every sink.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed with --all and without a terminal.")]


def replay(
    state: states.State = None,
    config: states.Config = None,
    sink: Sink = None,
    ids: Ids = None,
    everything: Everything = False,
    as_json: states.AsJson = False,
) -> None:
    """
    Give dead letters back to the sinks that refused them, and to no other.

    What is accepted now is no dead letter any more; what is refused again stays one.
    """
    loaded = _loaded(config)
    job = _job("replay", state, config, sink, ids, everything=everything)
    job.run(loaded, as_json=as_json)


def drop(
    state: states.State = None,
    config: states.Config = None,
    sink: Sink = None,
    ids: Ids = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: states.AsJson = False,
) -> None:
    """Drop dead letters for good. They are counted, and gone."""
    job = _job("drop", state, config, sink, ids, everything=everything)
    if job.letters and not yes:
        whose = ", ".join(f"{count} of {name}" for name, count in sorted(job.by_sink.items()))
        if everything or not sys.stdin.isatty():
            states.fail(f"this drops dead letters for good ({whose}): add --yes if that is meant", Exit.USAGE)
        if not typer.confirm(f"Drop dead letters for good ({whose})?"):
            raise typer.Exit(Exit.OK)
    job.run(None, as_json=as_json)


@dataclass(slots=True, kw_only=True)
class _Job:
    """What is asked for, and what has come of it."""

    what: What
    directory: Path
    wanted: Wanted
    letters: list[Letter]
    stays: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0  # of these, how many stand in the log yet, where nothing but an agent can get at them
    so_far: dict[str, int] = field(default_factory=dict)  # over all sinks, as last heard
    done: Mapping[str, Any] = field(default_factory=dict)  # by sink, at the end

    @property
    def by_sink(self) -> Counter[str]:
        return Counter(map(sink_of, self.letters))

    def run(self, config: Config | ConfigError | None, *, as_json: bool) -> None:
        """Do it, say what came of it, and exit with what that means."""
        problem, code = "", int(Exit.OK)
        if self.letters:
            try:
                with shown(f"{self.what} dead letters", len(self.letters)) as show:
                    self._carry_out(config, show)
            except NotDone as why:
                problem, code = str(why), why.code
            except KeyboardInterrupt:
                problem, code = "interrupted; what it had not come to is as it was", Exit.TEMPORARY
        if as_json:
            error = {"error": problem, "so_far": self.so_far} if problem else {}
            states.print_json({**self.done, "stays": self.stays, "waiting": self.waiting, **error})
        else:
            self._print()
        if problem:
            states.fail(problem, code)
        raise typer.Exit(_code(self.done, self.waiting))

    def _carry_out(self, config: Config | ConfigError | None, show: Show) -> None:
        order = {"do": self.what, "sink": self.wanted.sink, "ids": sorted(self.wanted.ids)}
        try:
            for said in control.ask(self.directory, order):
                self._heard(said, show)
        except NoAgent:
            self._do_it_ourselves(config, show)

    def _do_it_ourselves(self, config: Config | ConfigError | None, show: Show) -> None:
        self.waiting = sum("seq" not in letter for letter in self.letters)
        if isinstance(config, ConfigError):
            raise config
        out = Outcome()

        async def tell(said: Mapping[str, Any]) -> None:
            self._heard(said, show)

        try:
            if config is None:
                asyncio.run(alone.drop(self.directory, self.wanted, tell, out))
            else:
                asyncio.run(alone.replay(self.directory, config, self.wanted, tell, out))
        finally:
            self.done = out.plain()

    def _heard(self, said: Mapping[str, Any], show: Show) -> None:
        if "progress" in said:
            show(said["progress"])
            self.so_far = {name: count for name, count in said.items() if name != "progress"}
        if "done" in said:
            self.done = said["done"]
        if "stays" in said:
            self.stays.append({"id": said["stays"], **{key: said[key] for key in ("sink", "how", "reason")}})

    def _print(self) -> None:
        done = self.done
        for one in self.stays:
            print(states.printable(f"{one['id']} of {one['sink']} stays: {one['reason']}"))
        if not self.letters:
            print("no dead letters")
        if not done and self.so_far:
            print(", ".join(f"{count} {name}" for name, count in self.so_far.items()))
        for sink, count in done.get("replayed", {}).items():
            print(f"{count} taken by {sink}")
        for sink, count in done.get("dropped", {}).items():
            print(f"{count} of {sink} dropped")
        for sink, count in done.get("refused", {}).items():
            print(f"{count} refused again by {sink}: they stay")
        for sink, count in done.get("impossible", {}).items():
            print(f"{count} of {sink} cannot be replayed: they stay")
        for sink, reason in done.get("stopped", {}).items():
            print(states.printable(f"stopped at {sink}, {done['left'][sink]} of it stay: {reason}"))
        if self.waiting:
            print(f"{self.waiting} wait in the spool: the agent moves them to the others at its next start; they stay")


def _job(
    what: What,
    state: Path | None,
    config: list[Path] | None,
    sink: str | None,
    ids: list[str] | None,
    *,
    everything: bool,
) -> _Job:
    if not (sink or ids or everything):
        states.fail("say which: --sink NAME, --id ID, or --all", Exit.USAGE)
    directory = become_owner(states.opened(state, config))
    wanted = Wanted(sink=sink, ids=frozenset(ids or ()))
    letters = [letter for letter in found(directory) if wanted.has(letter)]
    missing = wanted.ids - {identity(letter) for letter in letters}
    if missing:
        whose = f" of {sink}" if sink else ""
        states.fail("\n".join(f"no dead letter {each}{whose}" for each in sorted(missing)), Exit.USAGE)
    return _Job(what=what, directory=directory, wanted=wanted, letters=letters)


def _loaded(paths: list[Path] | None) -> Config | ConfigError:
    """The configuration, read while this is root still; an agent that runs does without it."""
    try:
        return alone.with_secrets(load(paths or [DEFAULT_PATH]))
    except ConfigError as error:
        return error


def _code(done: Mapping[str, Any], waiting: int) -> Exit:
    if done.get("locked_out"):
        return Exit.NO_PERMISSION
    if done.get("stopped"):
        return Exit.UNAVAILABLE
    if done.get("refused") or done.get("impossible"):
        return Exit.REFUSED
    return Exit.TEMPORARY if waiting else Exit.OK
