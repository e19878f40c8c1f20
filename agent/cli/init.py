"""`init`: writes a configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

STANDARD_OUTPUT = Path("-")


def init(
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - prints it.")] = Path(
        "agent.toml"
    ),
    minimal: Annotated[bool, typer.Option("--minimal", help="Only what is needed: host metrics, printed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a configuration to start from. It holds every option there is, with its default."""
    from agent.cli.example import MINIMAL, example

    text = MINIMAL if minimal else example()
    if output == STANDARD_OUTPUT:
        print(text, end="")
        return
    try:
        # Secrets are written into such files: nobody but owner and group needs to read it.
        output.touch(mode=0o640, exist_ok=force)
        output.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise typer.BadParameter(f"{output} is there already; --force writes over it") from None
    edit = "" if minimal else "edit the placeholders in it, or write a small one with --minimal, then "
    print(f"{output} is written. Next: {edit}telemetry-agent check --config {output}")
