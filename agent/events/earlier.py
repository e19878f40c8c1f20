"""What rules leave for the next run, and go on with: also what was told after the file was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from agent.events.kept import Kept, KeptRule, Key, Lately, key
from agent.events.ready import Ready, Told
from agent.record import source_and_tags

Tags = Mapping[str, str]


def brought_up_to_date(former: KeptRule, lately: Iterable[Lately]) -> tuple[KeptRule, int]:
    """
    What a rule had left if it had been written after those of its events; and how many say something new.

    Those of one set of tags in their order; events that the file knows of already change nothing.
    """
    states = {state.key: state for state in former.states}
    told: dict[Key, list[Key]] = {}  # by what the event of a state has for tags
    for state in former.states:
        told.setdefault(key(state.source, {**state.tags, **former.tags}), []).append(state.key)
    spent, suppressed = list[int](), former.suppressed
    for event in lately:
        # A tag of the rule hides that of the record: of states that differ in nothing else, one that changes is meant.
        own = {tag: value for tag, value in event.tags.items() if tag not in former.tags}
        known = told.setdefault(key(event.source, event.tags), [key(event.source, own)])
        at = next((each for each in known if _fires(states.get(each)) is not event.is_firing), known[0])
        before = states.get(at)
        if _fires(before) is event.is_firing and (before is None or before.began == event.began):
            continue
        states[at] = Kept(
            source=event.source,
            tags=own if before is None else before.tags,
            is_firing=event.is_firing,
            began=event.began,
            changed=event.changed,
            seen=event.seen,
        )
        spent.append(event.seen)
        suppressed = 0  # it said how many there were
    return (
        msgspec.structs.replace(
            former, states=list(states.values()), spent=former.spent + sorted(spent), suppressed=suppressed
        ),
        len(spent),
    )


def is_orphan(state: Kept, was: Tags, fixed: Tags) -> bool:
    """Whether its tags were partly the agent's, which has others by now: no record will ever have them again."""
    return any(state.tags.get(tag) == was.get(tag) for tag in {*was, *fixed} if was.get(tag) != fixed.get(tag))


def _fires(state: Kept | None) -> bool:
    return state is not None and state.is_firing


def states_of(each: Ready) -> list[Kept]:
    """What a rule leaves: what its durable events told, and what has changed since beyond max_per_hour."""
    states = list(each.earlier.values())
    for middle, instance in each.instances.items():
        kept = instance.kept
        told = kept is not None and kept.is_firing
        if instance.was_firing is told is not instance.is_firing:
            states.append(_untold(instance, middle, is_firing=told))
        elif kept is not None:
            kept.seen = instance.arrived
            if matters(each, kept, instance.arrived):
                states.append(kept)
    return states


def _untold(instance: Told, middle: bytes, *, is_firing: bool) -> Kept:
    """A state that differs from the told one, `is_firing`, and is no event under way either."""
    source, tags = source_and_tags(middle)
    seen = instance.arrived
    return Kept(
        source=source,
        tags=tags,
        is_firing=is_firing,
        began=seen if instance.began is None else instance.began,
        changed=seen if instance.changed is None else instance.changed,
        seen=seen,
        is_untold=True,
    )


def matters(each: Ready, state: Kept, now_ms: int) -> bool:
    """Whether a state is anything but at rest."""
    return state.is_firing or state.is_untold or now_ms - state.changed < each.hold
