"""Makes agent.toml.example: a configuration that loads, with every option of every plugin in it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from agent.cli import toml
from agent.cli.declared import ARRAYS, NAMES, OWN, Option, about, options, plugin_classes, shared
from agent.config.plugins import KINDS, Role

WIDTH = 110

HEAD = """\
# The configuration of telemetry-agent, with every option there is.
#
# Lines such as `#interval = "10s"` show an option with its default, or with an example where the text above
# names the default. Take the # away to change one. Text stands after "# ", options after "#".
#
# Durations are written "250ms", "10s", "1m30s", "24h", "7d"; sizes "512KiB", "64MiB", "1GB".
# Any string may hold variables: "${VAR}", "${VAR:-default}", "${VAR:?message}"; "$$" is one "$".
# A secret, `password` for one, may be given as `password_file = "PATH"`, or as "credential:NAME", which
# reads a systemd credential.
#
# `telemetry-agent check --config FILE` says what a file means, or everything that is wrong with it.
"""

ABOUT: dict[Role, str] = {
    "collectors": "Where records come from: any number of tables [collectors.NAME]; `type` says of which kind.",
    "sinks": "Where records go: any number of tables [sinks.NAME]; `type` says of which kind.",
}


def example() -> str:
    """The text of agent.toml.example."""
    lines = [HEAD]
    for name, cls in OWN.items():
        lines += ["", *_comment(about(cls)), f"[{name}]", *_rows(options(cls), name, live=True)]
    for role in KINDS:
        lines += ["", "", *_comment(ABOUT[role])]
        for n, (kind, cls) in enumerate(plugin_classes(role).items()):
            name = f"{role}.{NAMES.get(kind, kind)}"
            common = shared(role, cls)
            if common and n == 0:
                then = [*_comment(f"What every table of [{role}] takes:"), *_rows(common, name, live=True)]
            else:
                then = _comment(f"And what every table of [{role}] takes, as above.") if common else []
            lines += ["", *_comment(about(cls)), f"[{name}]", f"type = {toml.value(kind)}"]
            lines += _rows(options(cls), name, live=True, then=then)
    for name, cls in ARRAYS.items():
        lines += ["", "", *_comment(f"{about(cls)} Any number of tables [[{name}]]."), f"[[{name}]]"]
        lines += _rows(options(cls), name, live=True)
    return "\n".join(lines) + "\n"


def _rows(listed: Iterable[Option], path: str, *, live: bool, then: Iterable[str] = ()) -> list[str]:
    """The lines of one table. In a table that is itself commented out (not `live`), every line is."""
    rows: list[str] = []
    nested: list[str] = []
    for option in listed:
        is_live = live and (option.is_required or option.in_example)
        mark = "" if is_live else "#"
        if option.tables is None:
            text = option.doc
            if not option.is_required and option.sample != option.default:
                text += f" Default: {option.default_words}."
            rows += _comment(text)
            rows += [mark + line for line in toml.wrapped(option.name, option.sample, WIDTH)]
        else:
            cls, several = option.tables
            here = f"{path}.{toml.key(option.name)}"
            nested += ["", *_comment(option.doc), f"{mark}[[{here}]]" if several else f"{mark}[{here}]"]
            nested += _rows(options(cls), here, live=is_live)
    return [*rows, *then, *nested]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


MINIMAL = """\
# The smallest useful configuration: this machine's metrics, printed. Everything else has a default;
# `telemetry-agent init` writes a file with every option, `telemetry-agent plugins` lists what else can
# be read and sent to.

[collectors.host]
type = "host"

[sinks.console]
type = "stdout"
"""
