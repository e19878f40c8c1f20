"""Every target by its name: what is fed, and where it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fuzz import answers, configs, packets, payloads, requests, states


class Target(NamedTuple):
    """A reader of bytes that raises where they are neither taken nor refused, and the bytes to begin with."""

    feed: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


TARGETS = {
    "config": Target(configs.config, configs.seeds),
    "payloads": Target(payloads.payloads, payloads.seeds),
    "mqtt5": Target(packets.mqtt5, lambda: packets.seeds("5")),
    "mqtt311": Target(packets.mqtt311, lambda: packets.seeds("3.1.1")),
    "http": Target(answers.http, answers.seeds),
    "sinks": Target(answers.sinks, lambda: [bytes([which]) + seed for which in range(5) for seed in answers.seeds()]),
    "state": Target(states.state, states.seeds),
    "status": Target(requests.status, requests.status_seeds),
    "control": Target(requests.control_order, requests.control_seeds),
}
