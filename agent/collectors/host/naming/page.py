"""
`python -m agent.collectors.host.naming.page` writes docs/host-metrics.md anew.

A test compares what is on disk with what this would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.collectors.host.collector import GROUPS
from agent.collectors.host.naming import NAMINGS
from agent.collectors.host.naming.catalog import FIELDS, TAGS, Field
from agent.collectors.host.naming.names import Also, LeftOut, Names, To
from agent.collectors.host.readings import Group

PAGE = Path(__file__).parents[4] / "docs" / "host-metrics.md"

TITLES = {"otel": "OpenTelemetry", "ncloud": "NAVER Cloud"}
PER = {1: "/s", 60: "/min"}

HEAD = """\
# Host metrics

Every field of the collector `type = "host"` under its three names: Telegraf's (`naming = "telegraf"`, the default),
OpenTelemetry's (`"otel"`) and those of NAVER Cloud's own server agent (`"ncloud"`). The `source` of a record is `host.`
and the group in all three, so that `select` stays as it is. A unit stands in brackets where it is another than
Telegraf's; a superscript says where the name is from, and a name without one is ours, in the style of the others.

- **Telegraf**: names, units and meanings of its plugins `cpu`, `mem`, `swap`, `disk`, `diskio`, `net`, `system`,
  `processes`, `kernel` (pressure), `cgroup` and `procstat` (top). Its two plugins for sensors disagree (`temp` says
  `temp`, `sensors` says `temp_input`, `temp_max`, `temp_crit`, `fan_input`): here they have plain words. Of batteries
  it says nothing, and of users the two numbers in `system` alone.
- **OpenTelemetry**: what differs within a record (mode, state, direction) stands behind the metric's name, what tells
  the instance is a tag; shares are 0 to 1, times are seconds, counters stay counters.
- **NAVER Cloud**: counters become rates; the first tick has none, and neither has one before which a counter was set
  back. Sizes are MiB as that agent sends them, even where a name says `byt`. The record of the server as a whole has
  the dimension `schema_type = "svr"`; over file systems there is none in a tick in which one of them does not answer.
  Two things are reckoned otherwise than there: used memory is what is not available (there: neither free, nor buffers,
  nor cache), and stolen time counts as time.

This page is made by `python -m agent.collectors.host.naming.page`.
"""


def page() -> str:
    """The text of docs/host-metrics.md."""
    return HEAD + "\n" + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| where a name is from | |"
    yield "|---|---|"
    for naming in NAMINGS.values():
        for mark, source in naming.sources.items():
            yield f"| <sup>{mark}</sup> | {source} |"
    for group in FIELDS:
        yield f"\n## `host.{group}`\n"
        if group not in GROUPS:
            yield "Not sampled by default: name it in `groups`.\n"
        if group in TAGS:
            yield from _tags(group)
        yield from _fields(group)


def _tags(group: Group) -> Iterator[str]:
    yield "| tag | meaning | " + " | ".join(TITLES.values()) + " |"
    yield "|---|---|" + "---|" * len(TITLES)
    for tag, meaning in TAGS[group].items():
        known = [naming.groups[group].tags[tag] for naming in NAMINGS.values()]
        yield f"| `{tag}` | {meaning} | " + " | ".join(f"`{to.name}`" + _mark(to.by) for to in known) + " |"
    yield ""


def _fields(group: Group) -> Iterator[str]:
    yield "| Telegraf | type | unit | meaning | " + " | ".join(TITLES.values()) + " |"
    yield "|---|---|---|---|" + "---|" * len(TITLES)
    for name, field in FIELDS[group].items():
        cells = [_cell(naming.groups[group], name, field) for naming in NAMINGS.values()]
        yield f"| `{name}` | {field.type} | {field.unit} | {field.meaning} | " + " | ".join(cells) + " |"
    every = [naming.groups[group] for naming in NAMINGS.values()]
    yield from _more("worked out of these", [names.also for names in every])
    yield from _more("of the server as a whole", [names.summed for names in every])


def _more(meaning: str, columns: list[tuple[Also, ...]]) -> Iterator[str]:
    if any(columns):
        cells = [", ".join(f"`{one.name}` ({one.unit}){_mark(one.by)}" for one in column) for column in columns]
        yield f"| | | | {meaning} | " + " | ".join(cells) + " |"


def _cell(names: Names, name: str, field: Field) -> str:
    if names.rest is not None:
        return f"`{names.rest(name)}`"
    every = [names.fields[name], *(special.fields[name] for special in names.special.values())]
    return "; all together: ".join(dict.fromkeys(_name(to, field) for to in every))


def _name(to: To | LeftOut, field: Field) -> str:
    if isinstance(to, LeftOut):
        return f"none: {to.why}"
    unit = to.unit.name if to.unit is not None else field.unit
    if to.rate and not unit.endswith("/s"):
        unit = (unit or "1") + PER[to.rate] if unit not in {"%", "requests"} else unit
    return f"`{to.name}`" + (f" ({unit})" if unit != field.unit else "") + _mark(to.by)


def _mark(by: str) -> str:
    return f"<sup>{by}</sup>" if by else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
