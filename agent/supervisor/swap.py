"""
A reload: what runs becomes what another configuration asks for, and what that has as it was is not touched.

    what changes or goes ends ─▸ ┌ intake waits ──────────────────┐ ─▸ what is new starts
      collectors acknowledge     │ the spool: who reads which lane │      deliveries over their cursors
      what the disk has;         │ intake: what goes to which lane │      collectors over their sessions
      requests under way land    │ the rules of events             │
                                 └─────────────────────────────────┘

Intake waits where it changes who reads what, for as long as the disk takes to store what was taken in before: then a
lane holds what was meant for its readers, as at a start, and the spool goes on as a start would. What is emitted
meanwhile is not acknowledged and goes the new way. Everything before and after is done while the other parts work.

What is compared is the tables of what runs with those of the configuration: so the way back is the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from agent.config import Config
from agent.intake import has_other_heads
from agent.supervisor.running import Running, readers

log = structlog.get_logger()

T = TypeVar("T")


class NotSwapped(Exception):  # noqa: N818 - what it says is what is to be done, as in agent.errors
    """It cannot be swapped now, and some parts may have ended: everything has to start anew."""


class SwapUndone(Exception):  # noqa: N818
    """The configuration cannot run; everything runs as before."""


@dataclass(frozen=True, slots=True)
class Swap:
    """What a reload has come to; parts by the names of their tables."""

    kept: list[str]
    changed: list[str]
    added: list[str]
    removed: list[str]


def is_enough(former: Config, config: Config) -> bool:
    """Whether a swap makes the one of the other: where they differ in nothing that all parts depend on."""

    def of_all(one: Config) -> tuple[object, ...]:
        return one.agent, one.spool, one.status, one.led, one.ncloud if one.led else None

    return of_all(former) == of_all(config)


async def swap(running: Running, config: Config) -> Swap:
    """
    Go on with another configuration (see `is_enough`).

    Raises SwapUndone where that cannot be and it goes on with the former one, NotSwapped where a start has to do it.
    """
    async with running.changing:
        if running.stop.is_set():
            raise NotSwapped("it is stopping")
        former = running.config
        done = _compared(former, config)
        try:
            await _become(running, config)
        except NotSwapped:
            raise
        except Exception as error:
            if not isinstance(error, OSError):
                log.exception("bug in a reload")
            await _back(running, former, error)
            raise SwapUndone(str(error) or repr(error)) from error
        return done


async def _back(running: Running, former: Config, why: Exception) -> None:
    try:
        await _become(running, former)
    except Exception as error:
        log.exception("bug on the way back from a reload")
        raise NotSwapped(str(why) or repr(why)) from error


async def _become(running: Running, config: Config) -> None:
    going = [name for name, table in running.collecting.items() if config.collectors.get(name) != table]
    ending = [name for name, table in running.sending.items() if config.sinks.get(name) != table]
    await asyncio.gather(running.end_collectors(going), running.end_sinks(ending))
    await _rearrange(running, config)
    running.config = config
    _forget(running, [*(("collector", name) for name in going), *(("sink", name) for name in ending)])
    lanes = {name: table.selection.lane for name, table in config.sinks.items()}
    running.lifecycle.carry_on(config=config.config_hash[:12], lanes=lanes)
    running.start_sinks(_missing(running.sending, config.sinks))
    running.start_collectors(_missing(running.collecting, config.collectors))


async def _rearrange(running: Running, config: Config) -> None:
    """Who reads which lane, what goes to which, and what the rules are: at one moment, in which nothing is taken in."""
    wanted, has_other_rules = readers(config.sinks), running.rules != config.events
    if wanted == running.read_by and not has_other_rules:
        return
    heads = running.intake.heads()
    with running.intake.gate.shut():
        if not await running.spool.flush():
            raise NotSwapped(f"the spool stores nothing: {running.spool.closed_reason}")
        running.read_by = wanted
        await running.spool.change(wanted)
        if has_other_rules:
            running.rules = config.events
            running.watch.change(config.events)
        running.intake.change([table.selection for table in config.sinks.values()])
        if running.memory is not None and (has_other_rules or has_other_heads(heads, running.intake.heads())):
            # What is told from here on must be read by these rules.
            running.memory.changed()
            await running.memory.settle()


def _forget(running: Running, ended: list[tuple[str, str]]) -> None:
    """What is no more is not shown any more. The numbers of what changes go on."""
    tables = {"collector": running.config.collectors, "sink": running.config.sinks}
    for kind, name in [*ended, *running.health.parts]:
        if kind in tables and name not in tables[kind]:
            running.health.forget(kind, name)
            running.stats.forget(**{kind: name})


def _missing(present: Mapping[str, T], wanted: Mapping[str, T]) -> dict[str, T]:
    return {name: table for name, table in wanted.items() if name not in present}


def _compared(former: Config, config: Config) -> Swap:
    before = _tables(former)
    after = _tables(config)
    return Swap(
        kept=[name for name, table in after.items() if name in before and before[name] == table],
        changed=[name for name, table in after.items() if name in before and before[name] != table],
        added=[name for name in after if name not in before],
        removed=[name for name in before if name not in after],
    )


def _tables(config: Config) -> dict[str, object]:
    return {
        **{f"collectors.{name}": table for name, table in config.collectors.items()},
        **{f"sinks.{name}": table for name, table in config.sinks.items()},
        **{f"events.{rule.name}": rule for rule in config.events},
    }
