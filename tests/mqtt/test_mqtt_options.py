"""What is found wrong with the options, before anything is connected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.collectors.mqtt import Mqtt, Subscription, Time
from agent.schema import Secret

GOOD = Subscription(topic="plant/#")


def wrong(**options: Any) -> list[str]:
    """The options that `problems` names."""
    given = {"url": "mqtt://broker", "subscription": [GOOD], **options}
    return [option for option, _ in Mqtt(**given).problems()]


def test_a_plain_collector_has_no_problems() -> None:
    assert wrong() == []
    assert wrong(url="mqtts://broker:9999", ca_file=Path("ca"), client_cert=Path("c"), client_key=Path("k")) == []
    assert wrong(url="wss://broker/path", protocol="3.1.1") == []
    assert wrong(url="mqtt://[::1]:1883", username="u", password=Secret("p")) == []


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://broker:99999",
        "mqtt://u:p@broker",
        "mqtt://broker/path",
        "mqtt://broker?x=1",
    ],
)
def test_bad_addresses_are_found(url: str) -> None:
    assert wrong(url=url) == ["url"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "ws://broker", "protocol": "5"}, ["protocol"]),
        ({"url": "mqtts://broker", "client_cert": Path("c")}, ["client_key"]),
        ({"url": "mqtts://broker", "client_key": Path("k")}, ["client_cert"]),
        ({"ca_file": Path("ca")}, ["ca_file"]),
        ({"tls_insecure": True}, ["tls_insecure"]),
        ({"url": "mqtt://localhost", "password": Secret("p")}, ["username"]),
        ({"username": "u", "password": Secret("p")}, ["url"]),
        ({"url": "ws://broker", "protocol": "3.1.1", "username": "u", "password": Secret("p")}, ["url"]),
        ({"username": "u", "password": Secret("p"), "allow_insecure": True}, []),
        ({"url": "mqtts://broker", "username": "u", "password": Secret("p")}, []),
        ({"url": "ws://127.0.0.2", "protocol": "3.1.1", "username": "u", "password": Secret("p")}, []),
        ({"username": "u"}, []),
        ({"proxy": "http://proxy:3128"}, ["proxy"]),
        ({"proxy": "ftp://proxy", "protocol": "3.1.1"}, ["proxy"]),
        ({"subscription": []}, ["subscription"]),
        ({"subscription": [GOOD, GOOD]}, ["subscription[1].topic"]),
        ({"subscription": [Subscription(topic="a/{x}"), Subscription(topic="a/+")]}, ["subscription[1].topic"]),
        ({"subscription": [Subscription(topic="a/{topic}")]}, ["subscription[0].topic"]),
    ],
)
def test_options_that_do_not_go_together_are_found(options: dict[str, Any], named: list[str]) -> None:
    assert wrong(**options) == named


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"topic": "a/#/b"}, ["topic"]),
        ({"topic": "$share/g/a", "retained": True}, ["retained"]),
        ({"topic": "a", "format": "text", "tag_keys": ("x",)}, ["tag_keys"]),
        ({"topic": "a", "format": "value", "time": Time(key="t", format="ms")}, ["time"]),
    ],
)
def test_subscriptions_that_cannot_be_meant_are_found(options: dict[str, Any], named: list[str]) -> None:
    assert [option for option, _ in Subscription(**options).problems()] == named


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"format": "%Y-%m-%d %H:%M:%S"}, ["tz"]),
        ({"format": "%Y-%m-%d %H:%M:%S", "tz": "Asia/Seoul"}, []),
        ({"format": "%Y-%m-%dT%H:%M:%S%z"}, []),
        ({"format": "%H:%M:%S", "tz": "Asia/Seoul"}, ["format"]),
        ({"format": "%Y-%m-%d %Q", "tz": "Asia/Seoul"}, ["format"]),
        ({"format": "minutes"}, ["format"]),
        ({"format": "rfc3339", "tz": "Asia/Sole"}, ["tz"]),
        ({"format": "rfc3339", "tz": "../etc/passwd"}, ["tz"]),
        ({"format": "ms", "tz": "Asia/Seoul"}, ["tz"]),
        ({"format": "ms", "key": ""}, ["key"]),
    ],
)
def test_times_that_cannot_be_read_are_found(options: dict[str, Any], named: list[str]) -> None:
    assert [option for option, _ in Time(**{"key": "t", **options}).problems()] == named


def test_the_filters_of_the_session_can_be_kept_for_the_next_run() -> None:
    given = [Subscription(topic="a/{x}/b"), Subscription(topic="$share/g/c"), Subscription(topic="d/{rest#}")]
    assert Mqtt(url="mqtt://broker", subscription=given).filters == ("a/+/b", "d/#")
