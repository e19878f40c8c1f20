"""What a body's fields may hold: each is asked for by its type, and the first that is wrong ends the call."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, TypeVar

from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.settings import Settings

Kind = TypeVar("Kind")


class Fields:
    """The fields of one object. Everything raises ProblemError: bad-parameter, with the field's place."""

    def __init__(self, value: object, place: str = "") -> None:
        if not isinstance(value, dict):
            raise bad_parameter(f"{place or 'the body'}: must be an object.")
        self._value: dict[str, Any] = value
        self._place = place

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def place(self, name: str) -> str:
        """Where a field of it stands."""
        return f"{self._place}.{name}" if self._place else name

    def text(self, name: str) -> str:
        """A string with something in it."""
        found = self._of(name, str, "a string")
        if not found:
            raise bad_parameter(f"{self.place(name)}: must not be empty.")
        return found

    def optional_text(self, name: str) -> str | None:
        """A string, or None where it is left out."""
        return self._of(name, str, "a string") if name in self else None

    def choice(self, name: str, choices: Collection[str]) -> str:
        """One of some."""
        found = self._of(name, str, "a string")
        if found not in choices:
            raise bad_parameter(f"{self.place(name)}: must be one of {', '.join(choices)}.")
        return found

    def whole(self, name: str, low: int, high: int) -> int:
        """A number without a fraction, within bounds."""
        found = self._of(name, int, "an integer")
        if isinstance(found, bool) or not low <= found <= high:
            raise bad_parameter(f"{self.place(name)}: must be an integer from {low} to {high}.")
        return found

    def flag(self, name: str) -> bool:
        """True or false."""
        return self._of(name, bool, "a boolean")

    def array(self, name: str) -> list[Any]:
        """A list of anything."""
        return self._of(name, list, "an array")

    def table(self, name: str) -> dict[str, Any]:
        """An object of anything."""
        return self._of(name, dict, "an object")

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        found = self.table(name)
        if not all(isinstance(item, str) for item in found.values()):
            raise bad_parameter(f"{self.place(name)}: must be an object of strings.")
        return found

    def _of(self, name: str, kind: type[Kind], said: str) -> Kind:
        if name not in self:
            raise bad_parameter(f"{self.place(name)}: is required.")
        found = self._value[name]
        if not isinstance(found, kind):
            raise bad_parameter(f"{self.place(name)}: must be {said}.")
        return found


def name(fields: Fields, settings: Settings) -> str:
    """A name by the rule of createJob: 3 to 100 characters (2024: to 20), the first a letter or an underscore."""
    longest = 20 if settings.api == "2024" else 100
    found = fields.text("name")
    if not re.fullmatch(rf"[A-Za-z_][A-Za-z0-9_-]{{2,{longest - 1}}}", found):
        raise bad_parameter(f"name: must be 3 to {longest} letters, digits, _ or -, beginning with a letter or _.")
    return found
