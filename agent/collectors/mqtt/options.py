"""The options of a subscription, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.collectors.mqtt.topics import parse_filter
from agent.schema import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Where in the payload the device says when it measured."""

    key: str = option("Key of the time in the JSON payload; dots lead into nested objects.", example="header.time")
    format: str = option(
        "s, ms, us or ns since 1970 (a number, exact to the last digit), rfc3339, or a strptime pattern.",
        example="rfc3339",
    )
    tz: str = option(
        "Time zone of texts that name none. In the hour that a clock put back repeats, the first pass is meant; "
        "a time that a clock put forward skips is read with the offset before it.",
        "",
        example="Asia/Seoul",
    )
    bad: Literal["arrival", "dead_letter"] = option(
        "A record without a readable time gets the time of its arrival, or becomes a dead letter.", "arrival"
    )

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong across these options."""
        from agent.collectors.mqtt import stamps  # brings zoneinfo and decimal: for who reads times only

        return stamps.problems(self.key, self.format, self.tz)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One topic filter, and how its payloads are read."""

    topic: str = option(
        "Topic filter; {name} is a level that becomes a tag, {name#} at the end all levels that follow; "
        "$share/GROUP/ in front shares the messages among the members of a group.",
        example="plant/{site}/{device}/state",
    )
    qos: int = option(
        "Highest quality of service: 0, 1 or 2. Under protocol 3.1.1 2 is asked for as 1: there QoS 2 would be "
        "acknowledged before the message is stored. A redelivery is recognised either way.",
        1,
        low=0,
        high=2,
    )
    retained: bool = option("Take retained messages too, which the broker sends at the first subscription.", False)
    format: Literal["json", "value", "text"] = option(
        "json: an object, an array of objects (a record each) or a scalar; value: a number or true/false alone; "
        "text: any text. A scalar or text becomes the field value.",
        "json",
    )
    tag_keys: tuple[str, ...] = option(
        "Keys of the JSON payload that become tags; they win over all other tags, and stay in the payload as well.",
        (),
        example=["line"],
    )
    time: Time | None = option("The device's own time; without it, the time of arrival.", None)

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong across these options."""
        found = []
        try:
            parsed = parse_filter(self.topic)
        except ValueError as error:
            found.append(("topic", f"not a topic filter: {error}"))
        else:
            if parsed.group and self.retained:
                found.append(("retained", "brokers send no retained messages to a shared subscription"))
        if self.format != "json":
            needs_json = 'only a payload of format = "json" has keys'
            if self.tag_keys:
                found.append(("tag_keys", needs_json))
            if self.time is not None:
                found.append(("time", needs_json))
        return found
