"""What messages about the configuration say of a value: enough to find the mistake, and nothing secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from agent.config.document import Expanded
from agent.schema import Secret, without_credentials

SHORTEST_SECRET = 4  # replacing shorter texts would garble what is said


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean timeout?`, or nothing where no known word is near."""
    import difflib  # needed after a mistake only

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def found(value: object) -> str:
    """A value as a message may show it: short, and without what came out of a variable."""
    match value:
        case Expanded():
            return f'what "{value.raw}" gives'
        case str():
            return json.dumps(
                without_credentials(value if len(value) <= 60 else value[:57] + "..."), ensure_ascii=False
            )
        case bool() | int() | float():
            return json.dumps(value)
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def with_found(text: str, steps: Sequence[str | int], table: object, instance: object) -> str:
    """The text with what was found, where it says what was expected and not what is there; never a secret."""
    if "found" in text or not ("expected" in text or text.startswith("not a")):
        return text
    for step in steps:
        try:
            table = table[step]  # type: ignore[index]
            instance = instance[step] if isinstance(step, int) else getattr(instance, step)  # type: ignore[index]
        except (LookupError, TypeError, AttributeError):
            return text
    # A password within a URL is not always where the pattern for it looks.
    is_shown = isinstance(table, str) and isinstance(instance, str) and not ("://" in table and "@" in table)
    return f"{text}, found {found(table)}" if is_shown else text


def without_secrets(text: str, value: object) -> str:
    """
    The text, with what came out of variables taken back and secrets replaced.

    `value` is whatever the text may quote from: tables as they were read, options as they were made of them.
    """
    match value:
        case Expanded() if len(value) >= SHORTEST_SECRET:
            return text.replace(value, value.raw)
        case Secret() if len(value.reveal()) >= SHORTEST_SECRET:
            return text.replace(value.reveal(), "***")
        case dict():
            for item in value.values():
                text = without_secrets(text, item)
        case list() | tuple():
            for item in value:
                text = without_secrets(text, item)
        case _:
            pass
    return without_credentials(text)
