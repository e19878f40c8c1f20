"""Every option there is, out of the declarations that the configuration is read from: for example and documentation."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from typing import Any

from agent.cli import toml
from agent.config import CollectorOptions
from agent.config.plugins import KINDS, Role
from agent.config.settings import Agent, Log, Spool, Status
from agent.dataflow.rule import Rule as FlowRule
from agent.events.rule import Rule
from agent.ncloud.account import Account
from agent.options import DeliveryOptions, Selection
from agent.schema import Secret, is_secret, key_of, kind_of, options_of, written

OWN: dict[str, type] = {"agent": Agent, "spool": Spool, "log": Log, "status": Status, "ncloud": Account}
# Tables of the agent itself of which there may be several.
ARRAYS: dict[str, type] = {"events": Rule, "dataflow": FlowRule}
COMMON: dict[Role, tuple[type, ...]] = {"collectors": (CollectorOptions,), "sinks": (Selection, DeliveryOptions)}
# What the example calls its collectors and sinks, where their kind is no good name.
NAMES = {
    "mqtt": "plant",
    "cloud_insight": "insight",
    "obsrv": "lake",
    "rackspace": "notes",
    "object_storage": "bucket",
    "file": "archive",
    "stdout": "console",
    "self": "agent",
}

_SAMPLES = {"duration": "10s", "size": "1MiB", "one or more": [], "list": [], "dict": {}}
_PLAIN_SAMPLES: dict[Any, Any] = {bool: False, int: 1, float: 1.0, Path: "/path/to/file"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option as example and documentation show it."""

    name: str
    hint: Any
    doc: str
    default: Any  # as TOML has it; MISSING where the option is required, None where it has no value
    default_text: str
    sample: Any
    in_example: bool = False  # stands in the example though it has a default: without it, nothing would work
    words: str = ""  # what it asks for, where the annotation is wider

    @property
    def default_words(self) -> str:
        """The default for a person: the value, or what having none comes to."""
        return self.default_text or toml.value(self.default)

    @property
    def is_required(self) -> bool:
        return self.default is MISSING

    @property
    def tables(self) -> tuple[type, bool] | None:
        """The dataclass of a nested table, and whether there may be several."""
        return _tables(self.hint)


def options(cls: type) -> list[Option]:
    """The options of a dataclass, those without a default first, those that are tables last."""
    found = [_option(each, hint) for each, hint in options_of(cls)]
    return sorted(found, key=lambda option: (option.tables is not None, not option.is_required))


def _option(each: Field[Any], hint: Any) -> Option:
    default: Any = MISSING
    if each.default is not MISSING:
        default = written(each.default, hint)
    elif each.default_factory is not MISSING:
        default = written(each.default_factory(), hint)
    if is_secret(hint) and not default:
        default = None
    sample = each.metadata.get("example", MISSING)
    if sample is MISSING:
        sample = default if default not in (MISSING, None) else _sample(hint)
    words = each.metadata.get("default_text", "none" if default is None else "")
    doc = " ".join(each.metadata["doc"].split())
    return Option(
        key_of(each),
        hint,
        doc,
        default,
        words,
        sample,
        in_example=each.metadata.get("in_example", False),
        words=each.metadata.get("words", ""),
    )


def _sample(hint: Any) -> Any:
    kind, inner = kind_of(hint)
    if kind == "optional":
        return _sample(inner)
    if kind == "choice":
        return inner[0]
    if inner is Secret:
        return "credential:NAME"
    return _SAMPLES.get(kind, _PLAIN_SAMPLES.get(inner, "..."))


def _tables(hint: Any) -> tuple[type, bool] | None:
    match kind_of(hint):
        case "table", cls:
            return cls, False
        case "optional", inner:
            return _tables(inner)
        case "any of", hints:
            return next(filter(None, map(_tables, hints)), None)
        case "list", (_, inner):
            return (tables[0], True) if (tables := _tables(inner)) else None
        case _:
            return None


def plugin_classes(role: Role) -> dict[str, type]:
    """The agent's own plugins of a role."""
    return {kind: cls for kind in KINDS[role].own if (cls := KINDS[role].find(kind))}


def shared(role: Role, plugin: type) -> list[Option]:
    """The common options of a role, without those that the plugin declares itself."""
    own = {option.name for option in options(plugin)}
    return [option for cls in COMMON[role] for option in options(cls) if option.name not in own]


def about(cls: type) -> str:
    """The first paragraph of a class's docstring."""
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())
