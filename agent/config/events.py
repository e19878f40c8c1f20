"""The `[[events]]` tables and what can be wrong with them together; who hears of what the agent says of itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from agent.config.document import Unreadable
from agent.config.messages import did_you_mean, found
from agent.config.places import Place
from agent.config.reading import Reading
from agent.config.settings import Agent
from agent.events.rule import OWN, SOURCE, Rule
from agent.options import Selection

Rules = Mapping[int, Rule]  # by their place among the tables; those that leave nothing to check are left out
Selections = Mapping[str, Selection]  # by sink


def read_rules(reading: Reading) -> Rules:
    """The rules, as far as they can be read."""
    listed = reading.document.tree.get("events", [])
    if not isinstance(listed, list):
        if not isinstance(listed, Unreadable):
            reading.bad(("events",), f"expected tables such as [[events]], found {found(listed)}")
        return {}
    rules: dict[int, Rule] = {}
    first: dict[str, int] = {}
    for n, table in enumerate(listed):
        rule = reading.table(Rule, table, ("events", n))
        if rule is None:
            continue
        rules[n] = rule
        place: Place = ("events", n, "name")
        if not reading.is_faulty(place) and first.setdefault(rule.name, n) != n:
            where = reading.document.where(("events", first[rule.name], "name"))
            reading.bad(place, f'expected a name of its own, found "{rule.name}", which is that of {where}')
    return rules


def sources_of_events(rules: Rules, agent: Agent | None) -> set[str]:
    """The sources that the agent's own events have."""
    own = {SOURCE + OWN} if agent is not None and agent.lifecycle_events else set[str]()
    return own | {SOURCE + rule.name for rule in rules.values()}


def check_sources(rules: Rules, sources: Collection[str], reading: Reading) -> None:
    """Say which rules watch nothing, as far as the beginnings of the collectors' sources tell."""
    for n, rule in rules.items():
        place: Place = ("events", n, "when")
        if reading.is_faulty(place):
            continue
        glob = rule.condition.source
        literal = re.split(r"[*?[]", glob, maxsplit=1)[0]
        if not any(literal.startswith(source) or source.startswith(literal) for source in sources):
            begin = ", ".join(f'"{source}"' for source in sorted(sources))
            near = did_you_mean(glob.partition(".")[0], [source.rstrip(".") for source in sources])
            reading.doubtful(
                place, f'"{glob}" fits no collector of this configuration: their sources begin with {begin}{near}'
            )


def check_hearers(rules: Rules, agent: Agent | None, sinks: Selections, reading: Reading) -> None:
    """Say which events reach no sink, which sinks wait for events in vain, and whose outage nobody is told of."""
    if not sinks or agent is None or any(map(reading.is_faulty, (("sinks",), ("events",), ("agent",)))):
        return
    # Which tags an event will have is not known here.
    wants = {name: Selection(select=selection.select, exclude=selection.exclude) for name, selection in sinks.items()}
    own = SOURCE + OWN
    for n, rule in rules.items():
        if not any(each.matches(SOURCE + rule.name, {}) for each in wants.values()):
            reading.doubtful(("events", n, "name"), f"no sink selects {SOURCE}{rule.name}: add it to the select of one")
    for name, selection in sinks.items():
        if all(glob.startswith(SOURCE) for glob in selection.select) and not sources_of_events(rules, agent):
            reading.doubtful(
                ("sinks", name),
                f"takes events ({', '.join(selection.select)}), and there are none: "
                "add [[events]], or lifecycle_events to [agent]",
            )
    if agent.lifecycle_events and not any(each.matches(own, {}) for each in wants.values()):
        reading.doubtful(("agent", "lifecycle_events"), f"no sink selects {own}: add it to the select of one")
    elif "outage" in agent.lifecycle_events:
        for doubt in _unheard(agent, sinks):
            reading.doubtful(("agent", "lifecycle_events"), doubt)


def _unheard(agent: Agent, sinks: Selections) -> Iterator[str]:
    """An outage goes to no sink that shares the records of the one it is about: say who is not told therefore."""
    lanes: dict[str, list[str]] = {}
    for name, selection in sinks.items():
        lanes.setdefault(selection.lane, []).append(name)
    # A host name that is still to be found is no reason to be silent here.
    tags = {"host": "*", **agent.tags_with_host()}

    def hears(sink: str, other: str) -> bool:
        return sinks[sink].matches(SOURCE + OWN, {**tags, "sink": other})

    for lane, names in lanes.items():
        if any(hears(sink, other) for sink in names for other in names if sink != other):
            yield (
                f"{' and '.join(names)} select the same records and so share them: neither is told of an outage of the "
                "other; give them selections of their own"
            )
        else:
            for name in names:
                if not any(hears(sink, name) for sink in sinks if sinks[sink].lane != lane):
                    yield f'no sink is told of an outage of {name}: let another one select "{SOURCE}{OWN}"'
