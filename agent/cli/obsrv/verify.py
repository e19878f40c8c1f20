"""`obsrv dataset verify`: whether a dataset keeps all that its sink will send."""

from __future__ import annotations

from typing import Any

import typer

from agent.cli import state as states
from agent.cli.obsrv.reach import Sink, TokenFile, reach, say
from agent.service.exits import Exit
from agent.sinks.obsrv.datasets import Datasets
from agent.sinks.obsrv.findings import FIELDS, findings


def verify(
    config: states.Config = None, sink: Sink = None, token_file: TokenFile = None, as_json: states.AsJson = False
) -> None:
    """
    Compare the dataset with what the sink will send, and say what each difference costs.

    A `fault` loses data or holds it up, nearly always without a word from Obsrv: the command ends with 76. A `doubt`
    may. A draft is looked at where nothing is published. Nothing is sent; `verify-delivery` proves what arrives.
    """
    chosen = reach(config, sink, token_file)

    async def work(datasets: Datasets) -> dict[str, Any] | None:
        # The draft only where nothing is published: else Obsrv would make one for being asked.
        return await datasets.read(chosen.dataset, FIELDS) or await datasets.read(chosen.dataset, FIELDS, draft=True)

    row = chosen.ask(work)
    if row is None:
        states.fail(
            f"there is no dataset {chosen.dataset}: `obsrv dataset create` makes one (an alias can be sent to, "
            "but not read: give the dataset's id)",
            Exit.UNVERIFIED,
        )
    found = list(findings(row, chosen.expected()))
    faults = sum(each.grade == "fault" for each in found)
    if as_json:
        listed = [each._asdict() for each in found]
        states.print_json({"sink": chosen.name, "dataset": chosen.dataset, "faults": faults, "findings": listed})
    else:
        states.print_table(
            ("", "setting", "there", "wanted"), [(each.grade, each.setting, each.there, each.wanted) for each in found]
        )
        for each in found:
            if each.cost:
                print()
                print(states.printable(f"{each.grade}: {each.setting}: {each.cost}"))
    if faults:
        say(f"{chosen.dataset} does not keep what {chosen.name} will send: {faults} fault{'s' if faults > 1 else ''}")
        raise typer.Exit(Exit.UNVERIFIED)
