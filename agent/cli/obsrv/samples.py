"""Records as this configuration will give them, as far as that is known beforehand: sources, tags and fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent.collectors.host.collector import Host
from agent.collectors.mqtt.collector import Mqtt
from agent.collectors.mqtt.topics import parse_filter
from agent.config import Config
from agent.events.rule import SOURCE
from agent.options import Selection
from agent.sinks.obsrv.expected import Sample

TEXT = "x"
NUMBERS = {"integer": 1 << 30, "float": 0.5}  # as many bytes as are something in MiB, too


def samples(config: Config, selection: Selection) -> list[Sample]:
    """One record of each kind that a sink will get."""
    # A tag's value is not known here, so what only `where` would leave out stays in.
    sources = replace(selection, where={})
    return [each for each in _all(config) if sources.matches(each.source, {})]


def _all(config: Config) -> Iterator[Sample]:
    tags = config.agent.tags_with_host()
    for name, table in config.collectors.items():
        own = {**tags, **table.tags}
        match table.plugin:
            case Host():
                yield from _host(table.plugin, own)
            case Mqtt():
                yield from _mqtt(name, table.plugin, own)
            case _:  # the agent's own counters, and foreign plugins
                yield Sample(f"{table.kind}.{name}", own, {}, is_whole=False)
    for rule in config.events:
        threshold = rule.condition.threshold
        value = threshold if isinstance(threshold, str | bool) else 0.5
        about = {"what": TEXT, "state": TEXT, "rule": rule.name, "value": value, "since": 1, "suppressed": 1}
        yield Sample(SOURCE + rule.name, {**tags, **rule.tags}, {**about, "field": TEXT, "of": TEXT})
    if config.agent.lifecycle_events:
        yield Sample(f"{SOURCE}agent", dict(tags), {"what": TEXT, "state": TEXT}, is_whole=False)


def _host(host: Host, tags: Mapping[str, str]) -> Iterator[Sample]:
    # Loaded by this command alone.
    from agent.collectors.host.naming import renamed
    from agent.collectors.host.naming.catalog import FIELDS, TAGS
    from agent.collectors.host.readings import Group, Reading, Row

    def reading(group: Group) -> Reading:
        own = tuple((tag, TEXT) for tag in TAGS.get(group, ()))
        # The name of a device of the catalogue's own machine is nobody else's.
        fields = {name: NUMBERS[field.type] for name, field in FIELDS[group].items() if ":" not in name}
        every = (Row(f"host.{group}", own, fields),)
        # All CPUs together have names of their own in some namings.
        together = (Row("host.cpu", (("cpu", "cpu-total"),), fields),) if group == "cpu" else ()
        return Reading(group, group, lambda: every + together)

    readings = [reading(group) for group in host.groups]
    if host.naming != "telegraf":
        readings = renamed(readings, host.naming)
        for each in readings:
            list(each.read())  # of what is a rate there is nothing in the first tick
    for each in readings:
        for row in each.read():
            if isinstance(row, Row):
                # Elsewhere values become other units, so that a whole number need not stay one.
                numbers = row.fields if host.naming == "telegraf" else {n: float(v) for n, v in row.fields.items()}
                yield Sample(row.source, {**tags, **dict(row.tags)}, numbers, is_whole=each.group != "cgroup")


def _mqtt(name: str, mqtt: Mqtt, tags: Mapping[str, str]) -> Iterator[Sample]:
    for each in mqtt.subscription:
        levels = dict.fromkeys((*parse_filter(each.topic).names, *each.tag_keys), TEXT)
        topic = {"topic": TEXT} if mqtt.topic_tag else {}
        yield Sample(f"mqtt.{name}", {**tags, **mqtt.tags, **topic, **levels}, {}, is_whole=False)
