"""Makes the tables of docs/configuration.md: every option of every plugin. The prose above them is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agent.cli import toml
from agent.cli.declared import ARRAYS, COMMON, OWN, Option, about, options, plugin_classes
from agent.config.plugins import KINDS, Role
from agent.schema import expected, is_secret, kind_of

MARK = "<!-- Everything below is made by `python -m agent.cli.reference` out of the declarations in the code. -->"

TITLES: dict[Role, str] = {"collectors": "Collectors", "sinks": "Sinks"}
COMMON_ABOUT: dict[Role, str] = {
    "collectors": "Every `[collectors.NAME]` takes these beside the options of its kind.",
    "sinks": "Every `[sinks.NAME]` takes these beside the options of its kind.",
}


def page(prose: str) -> str:
    """The text of docs/configuration.md: what stands above the mark, and the tables as they are now."""
    above = prose.partition(MARK)[0].rstrip()
    return above + "\n\n" + MARK + "\n\n" + "\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    yield "## The agent itself"
    for name, cls in OWN.items():
        yield f"\n### `[{name}]`\n\n{about(cls)}\n"
        yield from table(options(cls))
        yield from _nested(options(cls), name)
    for role in KINDS:
        yield f"\n## {TITLES[role]}\n\n{COMMON_ABOUT[role]}\n"
        yield from table(option for cls in COMMON[role] for option in options(cls))
        for kind, cls in plugin_classes(role).items():
            yield f"\n### `type = {toml.value(kind)}`\n\n{about(cls)}\n"
            yield from table(options(cls))
            yield from _nested(options(cls), f"{role}.NAME")
    for name, cls in ARRAYS.items():
        yield f"\n## `[[{name}]]`\n\n{about(cls)}\n"
        yield from table(options(cls))
        yield from _nested(options(cls), name)


def _nested(listed: Iterable[Option], path: str) -> Iterator[str]:
    for option in listed:
        if option.tables is not None:
            cls, several = option.tables
            here = f"{path}.{option.name}"
            yield f"\n#### `{f'[[{here}]]' if several else f'[{here}]'}`\n\n{option.doc}\n"
            yield from table(options(cls))
            yield from _nested(options(cls), here)


def table(listed: Iterable[Option]) -> Iterator[str]:
    """Options as a table in Markdown."""
    yield "| option | type | default | meaning |"
    yield "|---|---|---|---|"
    for option in listed:
        name = f"`{option.name}`" + (f", `{option.name}_file`" if is_secret(option.hint) else "")
        kind = option.words.removeprefix("a ") or words(option.hint)
        yield f"| {name} | {kind} | {_default(option)} | {_cell(option.doc)} |"


def words(hint: Any) -> str:
    """What kind of value an option takes, in a word or two."""
    kind, inner = kind_of(hint)
    match kind:
        case "optional":
            return words(inner)
        case "any of":
            return " or ".join(map(words, inner))
        case "duration" | "size":
            return kind
        case "choice":
            return ", ".join(f"`{toml.value(each)}`" for each in inner)
        case "list":
            return "tables" if kind_of(inner[1])[0] == "table" else f"list: {words(inner[1])}"
        case "dict":
            return f"table of {words(inner)}"
        case _ if is_secret(hint):
            return "secret"
        case _:
            return expected(hint).removeprefix("a ")


def _default(option: Option) -> str:
    if option.is_required:
        return "required"
    if option.tables is not None or option.default_text:
        return option.default_text or "none"
    return f"`{_cell(toml.value(option.default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
