"""`plugins`: what can be read and sent to, and which options each kind takes."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from agent.cli.declared import Option, about, options
from agent.cli.page import words
from agent.config.messages import did_you_mean
from agent.config.plugins import KINDS, Role


def plugins(
    kind: Annotated[str | None, typer.Argument(help="Show the options of this kind.")] = None,
) -> None:
    """List what can be read and sent to. With a kind, shows its options."""
    if kind is None:
        for role, kinds in KINDS.items():
            print(f"{role}:")
            for name in kinds.names():
                print(f"  {name:12} {_about(role, name)}")
        return
    shown = [_show(role, kind) for role, kinds in KINDS.items() if kind in kinds.names()]
    if not shown:
        names = [name for kinds in KINDS.values() for name in kinds.names()]
        near = did_you_mean(kind, names)
        raise typer.BadParameter(f"no such kind: {kind}; there are {', '.join(names)}{near}")
    print("\n\n".join(shown))


def _about(role: Role, kind: str) -> str:
    try:
        cls = KINDS[role].find(kind)
    except Exception as error:  # noqa: BLE001 a foreign package that fails is listed with its failure
        return f"cannot be loaded: {type(error).__name__}: {error}"
    return about(cls) if cls else ""


def _show(role: Role, kind: str) -> str:
    cls = KINDS[role].find(kind)
    if cls is None:
        return kind
    return "\n".join([f'[{role}.NAME] type = "{kind}": {about(cls)}', *_lines(options(cls), "")])


def _lines(listed: list[Option], path: str) -> list[str]:
    lines: list[str] = []
    for option in listed:
        if option.tables is not None:
            inner, several = option.tables
            name = f"{path}{option.name}"
            lines += [
                "",
                f"{f'[[{name}]]' if several else f'[{name}]'}: {option.doc}",
                *_lines(options(inner), f"{name}."),
            ]
            continue
        default = "required" if option.is_required else f"default {option.default_words}"
        kind = option.words.removeprefix("a ") or words(option.hint)
        lines += ["", f"{option.name}  ({kind.replace('`', '')}; {default})"]
        lines += textwrap.wrap(option.doc, 96, initial_indent="    ", subsequent_indent="    ")
    return lines
