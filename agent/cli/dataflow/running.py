"""`run`: starts a job or a workflow, once; with --wait, follows it to its end and exits by the outcome."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from agent.cli import state as states
from agent.cli.dataflow import tables
from agent.cli.dataflow.account import asked, refuse, tell
from agent.cli.dataflow.kinds import WORKFLOW, Kind
from agent.cli.span import seconds
from agent.errors import DeliveryError
from agent.ncloud.account import Account
from agent.ncloud.data_flow import Before, DataFlow, before, followed, is_doubtful, started, workflow_followed
from agent.service.exits import Exit
from agent.units import format_duration

Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code tells how it ended.")]
Timeout = Annotated[str | None, typer.Option(help="With --wait: follow it no longer than this, such as 2h (exit 75).")]
Every = Annotated[str, typer.Option(help="With --wait: how often to ask.")]

ENDS: Mapping[str, Exit] = {"COMPLETED": Exit.OK, "FAILED": Exit.RUN_FAILED, "CANCELED": Exit.RUN_CANCELED}
INTERRUPTED = 130  # 128 and the number of SIGINT: what a shell shows of a program that it ended


@dataclass(frozen=True, slots=True)
class Following:
    """How a run is followed, in seconds; no timeout: to its end."""

    every: float
    timeout: float | None


def following(*, wait: bool, timeout: str | None, every: str) -> Following | None:
    """What the options come to; None: it is not followed."""
    limit = None if timeout is None else seconds("--timeout", timeout)
    if not wait and limit is not None:
        states.fail("--timeout has no effect without --wait", Exit.USAGE)
    return Following(seconds("--every", every), limit) if wait else None


def parameters(given: Sequence[str]) -> dict[str, str]:
    """What `--parameter NAME=TEXT` says, each."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not name or not equals:
            states.fail(f'--parameter: expected NAME=TEXT, found "{each}"', Exit.USAGE)
        if name in found:
            states.fail(f"--parameter: {name} is given twice", Exit.USAGE)
        found[name] = text
    return found


@dataclass(slots=True, kw_only=True)
class Run:
    """One run, and how far it has come: whatever ends the command says what is known by then."""

    kind: Kind
    asked: str  # id or name
    config: Sequence[Path] | None
    body: Mapping[str, Any] | None = None
    id: str = ""
    is_ordered: bool = False  # from here on it may have been started
    execution: str = ""

    def carry_out(self, of: Account, follow: Following | None, *, as_json: bool) -> NoReturn:
        """Start it, follow it where that is asked for, print what came of it, and exit with what that means."""
        try:
            ended = asyncio.run(asked(of, lambda flow: self._done(flow, follow)))
        except DeliveryError as error:
            refuse(error, self._hint() if self.execution or is_doubtful(error) else "")
        except TimeoutError:
            if follow is None or follow.timeout is None:
                raise
            self._leave(f"not ended within {format_duration(follow.timeout)}", Exit.TEMPORARY)
        except KeyboardInterrupt:
            self._leave("interrupted", INTERRUPTED)
        if ended is not None:
            tables.print_one(ended, as_json=as_json)
            raise typer.Exit(ENDS[ended["status"]])
        tables.print_made({self.kind.key: self.id, "jobExecutionId": self.execution}, "jobExecutionId", as_json=as_json)
        raise typer.Exit(Exit.OK)

    async def _done(self, flow: DataFlow, follow: Following | None) -> tables.Row | None:
        self.id = await self.kind.id(flow, self.asked)
        mark = await before(flow, "workflow" if self.kind is WORKFLOW else "job", self.id)
        self.is_ordered = True
        self.execution = await started(flow, mark, self.body, say=tell)
        if follow is None:
            return None
        with _told(f"{self.kind.noun} {self.asked}") as say:
            async with asyncio.timeout(follow.timeout):
                return await self._followed(flow, mark, follow, say)

    async def _followed(
        self, flow: DataFlow, mark: Before, follow: Following, say: Callable[[str], None]
    ) -> tables.Row:
        if self.kind is WORKFLOW:
            return await workflow_followed(flow, mark, every=follow.every, say=say)
        return await followed(flow, self.id, self.execution, every=follow.every, say=say)

    def _leave(self, why: str, code: int) -> NoReturn:
        hint = self._hint()
        states.fail(states.printable(f"{why}; {hint}" if hint else why), code)

    def _hint(self) -> str:
        """What goes on without this command, and how to look at it."""
        if not self.is_ordered:
            return ""
        words = ["telemetry-agent", "dataflow", f"{self.kind.noun}s"]
        if self.execution and self.kind is not WORKFLOW:
            words += ["execution", self.id, self.execution]
        else:
            words += ["executions", self.id]
        words += [word for path in self.config or () for word in ("--config", str(path))]
        goes_on = f"the {self.kind.noun} goes on" if self.execution else "it may have been started all the same"
        return f"{goes_on}: `{shlex.join(words)}` shows it"


@contextmanager
def _told(what: str) -> Iterator[Callable[[str], None]]:
    """A place on standard error for how it gets on: a live line on a terminal, elsewhere a line for each change."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as line:
        task = line.add_task(states.printable(what), total=None)
        yield lambda text: line.update(task, description=states.printable(text))
