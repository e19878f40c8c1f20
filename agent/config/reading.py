"""
Reads TOML tables into the dataclasses that declare their options, and lists every mistake on the way.

Nothing here stops at a mistake: what cannot be read is listed with its place, its default (or an empty
value) takes its place, and the reading goes on, so that a person sees all mistakes at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from agent.config.document import Document, Expanded, Unreadable
from agent.config.messages import did_you_mean, found, with_found, without_secrets
from agent.config.places import Place
from agent.errors import Problem
from agent.schema import Secret, expected, is_secret, key_of, kind_of, options_of
from agent.units import format_duration, format_size, parse_duration, parse_size

T = TypeVar("T")

CREDENTIAL = "credential:"
_FAILED = Unreadable()
_PARSE: dict[str, Callable[[str], float]] = {"duration": parse_duration, "size": parse_size}
_FORMAT: dict[str, Callable[[Any], str]] = {"duration": format_duration, "size": format_size}
_BOOLEANS = {"true": True, "false": False}


@dataclass(slots=True)
class Reading:
    """
    Collects mistakes while tables are read. `problems` refuse the configuration, `warnings` do not.

    What `table` and `tables` give is to be run with only if `problems` is empty in the end: until then it
    may hold stand-ins for what could not be read, so that more can be checked.
    """

    document: Document
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    faulty: set[Place] = field(default_factory=set)  # what a mistake is listed about

    def bad(self, place: Place, text: str) -> Unreadable:
        """List a mistake."""
        _add(self.problems, Problem(self.document.where(place), text))
        self.faulty.add(place)
        return _FAILED

    def is_faulty(self, place: Place) -> bool:
        """Whether there is a mistake at that place or within it."""
        return any(each[: len(place)] == place for each in self.faulty)

    def doubtful(self, place: Place, text: str) -> None:
        """List something that may be meant, but rarely is."""
        _add(self.warnings, Problem(self.document.where(place), text))

    def table(self, cls: type[T], table: object, place: Place, *, besides: Collection[str] = ()) -> T | None:
        """The table as a `cls`, or None where its mistakes leave nothing; keys in `besides` are somebody else's."""
        taken: T | None = self.tables((cls,), table, place, besides=besides)[0]
        return taken

    def tables(
        self, classes: tuple[type, ...], table: object, place: Place, *, besides: Collection[str] = ()
    ) -> list[Any]:
        """Several dataclasses out of one table, which share its keys among them."""
        if not isinstance(table, dict):
            if isinstance(table, Unreadable):
                self.faulty.add(place)
            else:
                self.bad(place, f"expected a table, found {found(table)}")
            return [None] * len(classes)
        known = {*besides, *(name for cls in classes for name in _keys(cls))}
        for key in table:
            if key not in known:
                self.bad((*place, key), f"no such option{did_you_mean(key, known)}")
        return [self._instance(cls, table, place) for cls in classes]

    def _instance(self, cls: type[T], table: dict[str, Any], place: Place) -> T | None:
        values: dict[str, Any] = {}
        for each, hint in options_of(cls):
            key = self._key(key_of(each), each.metadata.get("renamed_from"), hint, table, place)
            if is_secret(hint) and f"{key}_file" in table:
                values[each.name] = self._secret_file(key, table, place)
            elif key in table:
                values[each.name] = self.value(table[key], hint, (*place, key), each.metadata)
            elif each.default is MISSING and each.default_factory is MISSING:
                values[each.name] = self.bad(
                    (*place, key), f"required, but missing: expected {each.metadata.get('words') or expected(hint)}"
                )
            if isinstance(values.get(each.name), Unreadable):
                del values[each.name]
                if each.default is MISSING and each.default_factory is MISSING:
                    values[each.name] = _stand_in(hint)
        is_whole = not self.is_faulty(place)
        try:
            instance = cls(**values)
            if is_whole:
                self._together(instance, "warnings", self.doubtful, table, place)
            self._together(instance, "problems", self.bad, table, place)
        except Exception as error:
            if is_whole and not isinstance(error, ValueError):
                raise
            if is_whole:
                self.bad(place, without_secrets(str(error), [table, values]))
            return None  # else a stand-in may be the cause, and the table's real mistakes are listed
        return instance

    def _together(
        self, instance: object, method: str, listed: Callable[[Place, str], object], table: dict[str, Any], place: Place
    ) -> None:
        """List what the dataclass itself has to say about its options together."""
        look = getattr(instance, method, None)
        known = [each[len(place) :] for each in self.faulty if each[: len(place)] == place]
        values = {each.name: getattr(instance, each.name) for each, _ in options_of(type(instance))}
        for option, text in look() if look else ():
            steps = _steps(option)
            if not any(_is_about(steps, text, each) for each in known):
                text = with_found(text, steps, table, instance) if method == "problems" else text
                listed((*place, *steps), without_secrets(text, [table, values]))

    def _key(self, name: str, former: str | None, hint: Any, table: dict[str, Any], place: Place) -> str:
        """The name under which an option is given: its own, or its former one."""
        suffixes = ("", "_file") if is_secret(hint) else ("",)
        given = [former + suffix for suffix in suffixes if former and former + suffix in table]
        if not former or not given:
            return name
        if any(name + suffix in table for suffix in suffixes):
            self.bad((*place, given[0]), f"the former name of {name}, which is given too")
            return name
        self.doubtful((*place, given[0]), f"is now called {name}; the former name will stop working")
        return former

    def value(self, value: Any, hint: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        """One value as its annotation wants it, or an `Unreadable` after its mistake was listed."""
        if isinstance(value, Unreadable):
            self.faulty.add(place)
            return _FAILED
        kind, inner = kind_of(hint)
        match kind:
            case "optional":
                return self.value(value, inner, place, bounds)
            case "any of":
                return self._any_of(value, inner, place, bounds)
            case "table":
                taken = self.table(inner, value, place)
                return _FAILED if taken is None else taken
            case "one or more":
                listed = [value] if isinstance(value, str) else value
                if not isinstance(listed, list):
                    return self._not(hint, value, place)
                return self._list(listed, tuple, str, place, bounds)
            case "list" if isinstance(value, list):
                make, item_hint = inner
                return self._list(value, make, item_hint, place, bounds)
            case "dict" if isinstance(value, dict):
                return {key: self._item(item, inner, (*place, key), bounds) for key, item in value.items()}
            case "choice":
                for choice in inner:
                    if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                        return choice
                return self._not(hint, value, place, inner)
            case "duration" | "size":
                return self._quantity(value, kind, hint, place, bounds)
            case "plain":
                return self._plain(value, inner, hint, place, bounds)
            case _:
                return self._not(hint, value, place)

    def _not(self, hint: Any, value: Any, place: Place, words: Iterable[object] = ()) -> Unreadable:
        is_shown = isinstance(value, str) and not isinstance(value, Expanded)
        near = did_you_mean(value, [word for word in words if isinstance(word, str)]) if is_shown else ""
        return self.bad(place, f"expected {expected(hint)}, found {found(value)}{near}")

    def _list(self, items: list[Any], make: type, inner: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        return make([self._item(item, inner, (*place, n), bounds) for n, item in enumerate(items)])

    def _item(self, item: Any, hint: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        """One of several values; a faulty one is replaced, so that the others keep their places."""
        value = self.value(item, hint, place, bounds)
        return _stand_in(hint) if isinstance(value, Unreadable) else value

    def _any_of(self, value: Any, hints: tuple[Any, ...], place: Place, bounds: Mapping[str, Any]) -> Any:
        for hint in hints:
            quiet = replace(self, problems=[], warnings=[], faulty=set())
            taken = quiet.value(value, hint, place, bounds)
            # A table is told by its being one: its mistakes are worth more than "expected a string or a table".
            if not quiet.problems or (isinstance(value, dict) and kind_of(hint)[0] == "table"):
                self.faulty |= quiet.faulty
                for problem in quiet.problems:
                    _add(self.problems, problem)
                for warning in quiet.warnings:
                    _add(self.warnings, warning)
                return taken
        wanted = " or ".join(expected(hint) for hint in hints)
        return self.bad(place, f"expected {wanted}, found {found(value)}")

    def _quantity(self, value: Any, kind: str, hint: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            try:
                return self._bounded(_PARSE[kind](value), place, bounds, _FORMAT[kind])
            except ValueError:
                # "64M" is meant by some as 64,000,000 and by others as 67,108,864: it has to be said.
                near = [f"{value}iB"] if kind == "size" and value[-1:] in "KMGT" and value[:-1].isdigit() else []
                return self._not(hint, value, place, near)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            return self._not(hint, value, place)
        if kind == "size" and isinstance(value, int):
            return self._bounded(value, place, bounds, format_size)
        if value == 0:
            return self._bounded(0.0, place, bounds, format_duration)
        return self.bad(place, f'expected {expected(hint)}, found {found(value)}; did you mean "{value}s"?')

    def _plain(self, value: Any, cls: Any, hint: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        if cls is Secret:
            if not isinstance(value, str):
                return self.bad(place, "expected a string, found something else")
            return self._credential(value, place) if value.startswith(CREDENTIAL) else Secret(str(value))
        if cls is str and isinstance(value, str):
            return str(value)
        if cls is Path and isinstance(value, str):
            path = self.document.folder(place) / value
            return self._there(path, place) if bounds.get("must_exist") else path
        if cls in (int, float) and isinstance(value, Expanded):
            # What comes out of a variable is text; a number is what it says.
            try:
                value = cls(value)
            except ValueError:
                return self._not(hint, value, place)
        if cls is bool and isinstance(value, Expanded) and value in _BOOLEANS:
            return _BOOLEANS[value]
        if cls is bool and isinstance(value, bool):
            return value
        if cls in (int, float) and not isinstance(value, bool) and isinstance(value, (int, cls)) and value - value == 0:
            return self._bounded(cls(value), place, bounds, str)
        return value if cls in (Any, object) else self._not(hint, value, place)

    def _bounded(self, value: Any, place: Place, bounds: Mapping[str, Any], text: Callable[[Any], str]) -> Any:
        low, high = bounds.get("low"), bounds.get("high")
        if low is not None and value < low:
            return self.bad(place, f"expected at least {text(low)}, found {text(value)}")
        if high is not None and value > high:
            return self.bad(place, f"expected at most {text(high)}, found {text(value)}")
        return value

    def _there(self, path: Path, place: Place) -> Any:
        try:
            with path.open("rb"):
                return path
        except OSError as error:
            return self.bad(place, f"{path} cannot be read: {error.strerror}")

    def _secret_file(self, key: str, table: dict[str, Any], place: Place) -> Any:
        here = (*place, f"{key}_file")
        name = table[f"{key}_file"]
        if key in table:
            return self.bad(here, f"give {key} or {key}_file, not both")
        if isinstance(name, Unreadable):
            self.faulty.add(here)
            return _FAILED
        if not isinstance(name, str):
            return self.bad(here, f"expected the path of a file, found {found(name)}")
        return self._secret(self.document.folder(place) / name, here)

    def _credential(self, value: str, place: Place) -> Any:
        name = value.removeprefix(CREDENTIAL)
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not name or "/" in name:
            return self.bad(place, f'expected "{CREDENTIAL}NAME" with the name of a systemd credential')
        if folder is None:
            return self.bad(
                place,
                f"credential {name}: CREDENTIALS_DIRECTORY is not set; systemd sets it for LoadCredential= of a unit; "
                "to try it without: CREDENTIALS_DIRECTORY=DIR telemetry-agent check",
            )
        return self._secret(Path(folder) / name, place)

    def _secret(self, path: Path, place: Place) -> Any:
        secret = Secret(path=str(path))
        try:
            text = secret.reveal()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            return self.bad(place, f"{path} cannot be read: {reason}")
        return secret if text else self.bad(place, f"{path} is empty")


def _add(listed: list[Problem], problem: Problem) -> None:
    if problem not in listed:
        listed.append(problem)


def _stand_in(hint: Any) -> Any:
    """A value of that annotation that says nothing, in place of one that could not be read."""
    kind, inner = kind_of(hint)
    match kind:
        case "optional":
            return None
        case "any of":
            return _stand_in(inner[0])
        case "one or more":
            return ()
        case "list":
            return inner[0]()
        case "dict":
            return {}
        case "choice":
            return inner[0]
        case "duration" | "size":
            return 1
        case "plain" if inner in (bool, int, float, str, Path, Secret):
            return inner()
        case _:
            return None


def _is_about(steps: Place, text: str, faulty: Place) -> bool:
    """Whether what is said of an option may come from a mistake that is listed already: it is, or names, that one."""
    shorter = min(len(steps), len(faulty))
    if steps[:shorter] == faulty[:shorter]:
        return True
    names = [step for step in faulty if isinstance(step, str)]
    return bool(names) and re.search(rf"\b{re.escape(names[-1])}\b", text) is not None


def _keys(cls: type) -> Iterable[str]:
    for each, hint in options_of(cls):
        for name in filter(None, (key_of(each), each.metadata.get("renamed_from"))):
            yield name
            if is_secret(hint):
                yield f"{name}_file"


def _steps(option: str) -> Place:
    """`subscriptions.0.time` and `subscriptions[0].time` as a place."""
    words = option.replace("[", ".").replace("]", "").split(".")
    return tuple(int(word) if word.isdigit() else word for word in words if word)
