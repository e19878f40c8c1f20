"""What every sink's table takes beside the plugin's own options: which records it wants, and how they are delivered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from agent.ports import Limits
from agent.schema import Duration, OneOrMore, Secret, Size, option

EVERYTHING = "all"  # the lane of sinks that want every record


@dataclass(frozen=True, kw_only=True)
class Selection:
    """
    Which records a sink wants. `*` in a glob stands for anything, dots and slashes too.

    Sinks whose selections mean the same share a lane, so `lane` depends on the meaning alone: the
    order and repetition of globs make no difference.
    """

    select: OneOrMore = option(
        "Sources this sink wants: globs such as `host.*`.",
        ("*",),
        default_text="everything; for `rackspace` `event.*`",
        example=["host.*", "mqtt.plant"],
    )
    exclude: OneOrMore = option("Sources it does not want, out of the selected ones.", (), example=["host.processes"])
    where: dict[str, OneOrMore] = option(
        "Tags a record must have: tag = glob or list of globs, all of them met.",
        factory=dict,
        example={"site": ["seoul-*", "busan"]},
    )

    def matches(self, source: str, tags: Mapping[str, str]) -> bool:
        """Whether a record of that source with those tags is wanted."""
        return (
            _any(self.select, source)
            and not _any(self.exclude, source)
            and all(tag in tags and _any(globs, tags[tag]) for tag, globs in self.where.items())
        )

    def problems(self) -> list[tuple[str, str]]:
        """A selection that can match nothing is a mistake."""
        empty = "selects nothing: every record would be left out"
        listed = [] if self.select else [("select", empty)]
        listed += [("exclude", empty)] if "*" in self.exclude else []
        return listed + [(f"where.{tag}", empty) for tag, globs in self.where.items() if not globs]

    @cached_property
    def canonical(self) -> str:
        """The same text for selections that mean the same."""
        select = ["*"] if "*" in self.select else sorted(set(self.select))
        where = {tag: sorted(set(globs)) for tag, globs in self.where.items()}
        return json.dumps([select, sorted(set(self.exclude)), where], sort_keys=True, ensure_ascii=False)

    @cached_property
    def lane(self) -> str:
        """The name of the lane: "all", or "sel-" and 12 hex digits of the meaning."""
        if self.canonical == Selection().canonical:
            return EVERYTHING
        return "sel-" + hashlib.sha256(self.canonical.encode()).hexdigest()[:12]

    def __hash__(self) -> int:
        return hash(self.canonical)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """How records are delivered to a sink. None: as the plugin or [spool] has it."""

    max_age: Duration | None = option(
        "Records that wait longer are dropped and counted as expired.",
        None,
        default_text="the plugin's or that of [spool], whichever is less",
        low=1.0,
        example="24h",
    )
    on_full: Literal["drop_oldest", "block"] = option(
        "When the spool is full: drop the oldest records, or `block` and stop taking in new ones for all sinks.",
        "drop_oldest",
    )
    start: Literal["oldest", "newest"] = option(
        "Where a sink begins at its very first run: with all that is stored, or with what comes from then on.", "oldest"
    )
    catch_up: Literal["oldest"] = option("After an outage: the oldest records first.", "oldest")
    batch_records: int | None = option(
        "Most records in a batch.", None, default_text="the plugin's", low=1, example=500
    )
    batch_bytes: Size | None = option(
        "Most bytes of data in a batch, before compression.",
        None,
        default_text="the plugin's",
        low=1024,
        example="512KiB",
    )
    linger: Duration | None = option(
        "How long to wait for a batch to fill; after a quiet time the first goes at once. Of no effect on a sink "
        "that sends by the minute.",
        None,
        default_text="the plugin's",
        high=3600.0,
        example="1s",
    )
    in_flight: int | None = option(
        "Batches on their way at the same time.", None, default_text="the plugin's", low=1, high=64, example=1
    )
    was: str | None = option(
        "A former name of this sink: what waited for that one goes on here.",
        None,
        default_text="none",
        example="old-name",
    )

    def over(self, limits: Limits) -> Limits:
        """The plugin's limits with what the operator has set in their place."""
        return Limits(
            records=limits.records if self.batch_records is None else self.batch_records,
            bytes=limits.bytes if self.batch_bytes is None else self.batch_bytes,
            in_flight=limits.in_flight if self.in_flight is None else self.in_flight,
            linger=limits.linger if self.linger is None else self.linger,
            window=limits.window,
            max_age=limits.max_age if self.max_age is None else self.max_age,
        )

    def longest_wait(self, limits: Limits, spool: float) -> float:
        """Seconds after which a record is expired: as the operator says, else as the plugin or [spool] has it."""
        if self.max_age is not None:
            return self.max_age
        return spool if limits.max_age is None else min(limits.max_age, spool)


def _any(globs: tuple[str, ...], text: str) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself, whatever a name service says."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def secret_in_the_clear(
    url: str, secret: Secret | str | None, *, allow_insecure: bool, option: str = "url"
) -> list[tuple[str, str]]:
    """
    What a plugin's `problems` adds where its secret would cross a network unencrypted.

    `url` may have any scheme (http, mqtt, ws, ...; those of TLS end in "s"); a password within it
    counts as a secret.
    """
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:  # whose words repeat parts of it
        return [(option, "not a URL")]
    encrypted = parts.scheme in ("https", "mqtts", "wss", "ssl", "tls")
    if encrypted or allow_insecure or not (secret or parts.password) or is_loopback(parts.hostname or ""):
        return []
    way = f"plain {parts.scheme}" if parts.scheme else "a connection without TLS"
    return [
        (option, f"{way} to {parts.hostname} would show the secret to the network: use TLS, or allow_insecure = true")
    ]
