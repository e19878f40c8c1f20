"""Who the agent is, what a sink wants, and when two configurations are the same."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import Config
from agent.options import DeliveryOptions, Selection
from agent.ports import Limits


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", socket.gethostname()),
        ("hostname = 'edge-17'", "edge-17"),
        ("hostname = '${NODE}'", "node-3"),
        ("hostname_source = 'env:NODE'", "node-3"),
        ("hostname_source = 'file:name'", "from-file"),
        ("hostname = 'edge-17'\nhostname_source = 'env:NOWHERE'", "edge-17"),
    ],
)
def test_the_host_has_its_name_from_where_the_file_says(read: Any, tmp_path: Path, lines: str, name: str) -> None:
    (tmp_path / "name").write_text("from-file\nsecond line\n")
    config = read(f"[agent]\n{lines}\n", {"NODE": "node-3"}, base=True)
    assert config.agent.hostname == name
    assert config.agent.tags_with_host() == {"host": name}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("env:NODE", "the variable NODE is not set or empty"),
        ("file:gone", "gone cannot be read: No such file or directory"),
        ("file:empty", "empty has an empty first line"),
    ],
)
def test_a_host_name_that_cannot_be_had_is_a_mistake(problems: Any, tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "empty").touch()
    assert problems(f"[agent]\nhostname_source = '{source}'\n", base=True) == [
        f"agent.toml:2 agent.hostname_source: {message}"
    ]


@pytest.mark.parametrize("name", ["0123456789ab", "f" * 64, "localhost"])
def test_a_host_name_that_tells_nobody_apart_is_warned_about(read: Any, name: str) -> None:
    (warning,) = read(f"[agent]\nhostname = '{name}'\n", base=True).warnings
    assert str(warning).startswith(f"agent.toml:2 agent.hostname: the host name {name}")


@pytest.mark.parametrize("name", ["0123456789abc", "cafe", "edge-0123456789ab"])
def test_an_ordinary_host_name_is_not(read: Any, name: str) -> None:
    assert read(f"[agent]\nhostname = '{name}'\n", base=True).warnings == ()


def test_a_tag_of_the_file_can_stand_for_the_host(read: Any) -> None:
    config = read("[agent]\nhostname = 'a'\ntags = { host = 'b', site = 's' }\n", base=True)
    assert config.agent.tags_with_host() == {"host": "b", "site": "s"}


def test_a_glob_that_fits_no_collector_is_warned_about(read: Any) -> None:
    config = read("""\
        [collectors.me]
        type = "host"
        [sinks.out]
        type = "stdout"
        select = ["hots.*", "host.cpu", "h*", "*.cpu"]
        exclude = ["mqtt.*"]
        """)
    fits = 'fits no collector of this configuration: their sources begin with "host."'
    assert list(map(str, config.warnings)) == [
        f'agent.toml:5 sinks.out.select: "hots.*" {fits}',
        f'agent.toml:6 sinks.out.exclude: "mqtt.*" {fits}',
    ]


def test_nothing_is_said_about_globs_where_a_foreign_collector_may_give_anything(read: Any) -> None:
    assert read("[sinks.a]\ntype = 'stdout'\nselect = 'level'\n", base=True).warnings == ()


@pytest.mark.parametrize(
    ("table", "source", "tags", "wanted"),
    [
        ("", "host.cpu", {}, True),
        ("select = 'host.*'", "host.cpu", {}, True),
        ("select = 'host.*'", "mqtt.plant", {}, False),
        ("select = ['mqtt.*', 'host.cpu']", "host.cpu", {}, True),
        ("exclude = 'host.*'", "host.cpu", {}, False),
        ("exclude = 'host.*'", "mqtt.plant", {}, True),
        ("where = { site = 'seoul-*' }", "mqtt.plant", {"site": "seoul-1"}, True),
        ("where = { site = 'seoul-*' }", "mqtt.plant", {"site": "busan"}, False),
        ("where = { site = '*' }", "mqtt.plant", {}, False),
        ("where = { site = ['a', 'b'], line = '1' }", "mqtt.plant", {"site": "b", "line": "1"}, True),
        ("where = { site = ['a', 'b'], line = '1' }", "mqtt.plant", {"site": "b", "line": "2"}, False),
        ("where = { Site = 'A' }", "mqtt.plant", {"Site": "a"}, False),
    ],
)
def test_a_sink_gets_what_it_selects(read: Any, table: str, source: str, tags: dict[str, str], wanted: bool) -> None:
    selection = read(f"[sinks.a]\ntype = 'stdout'\n{table}\n", base=True).sinks["a"].selection
    assert selection.matches(source, tags) is wanted


globs = st.lists(st.sampled_from(["*", "host.*", "mqtt.*", "self.*", "host.cpu"]), min_size=1, max_size=4).map(tuple)
wheres = st.dictionaries(st.sampled_from(["site", "line"]), globs, max_size=2)


@given(globs, globs, wheres, st.randoms(use_true_random=False))
def test_selections_that_mean_the_same_share_a_lane(select: Any, exclude: Any, where: Any, rng: Any) -> None:
    one = Selection(select=select, exclude=exclude, where=where)
    mixed = [*select, *select]
    rng.shuffle(mixed)
    turned = dict(reversed([(tag, each[::-1]) for tag, each in where.items()]))
    other = Selection(select=tuple(mixed), exclude=exclude[::-1], where=turned)
    assert one.lane == other.lane
    assert hash(one) == hash(other)


def test_lanes_are_named_for_ever() -> None:
    assert Selection().lane == "all"
    assert Selection(select=("host.*", "*")).lane == "all"
    # These names are directories in every spool there is: they never change.
    assert Selection(select=("host.*",)).lane == "sel-7ad1fff1ee5a"
    assert Selection(select=("mqtt.*",), exclude=("mqtt.b",), where={"site": ("a", "b")}).lane == "sel-89e9b3549e5b"


@given(globs, globs)
def test_a_different_wish_is_a_different_lane(one: Any, other: Any) -> None:
    def meaning(select: Any) -> set[str]:
        return {"*"} if "*" in select else set(select)

    same = Selection(select=one).lane == Selection(select=other).lane
    assert same is (meaning(one) == meaning(other))


def test_what_the_operator_sets_goes_before_the_limits_of_the_plugin() -> None:
    limits = Limits(records=1, bytes=2, in_flight=3, linger=4.0)
    assert DeliveryOptions().over(limits) == limits
    assert DeliveryOptions(batch_records=7, linger=0.0).over(limits) == Limits(
        records=7, bytes=2, in_flight=3, linger=0.0
    )


def test_delivery_options_stand_beside_those_of_the_plugin(read: Any) -> None:
    table = read("""\
        [collectors.me]
        type = "tank"
        [sinks.out]
        type = "stdout"
        format = "pretty"
        max_age = "5m"
        on_full = "block"
        start = "newest"
        batch_bytes = "64KiB"
        in_flight = 2
        was = "old"
        """).sinks["out"]
    assert table.kind == "stdout"
    assert table.plugin.format == "pretty"
    assert table.delivery == DeliveryOptions(
        max_age=300.0, on_full="block", start="newest", batch_bytes=65536, in_flight=2, was="old"
    )


def test_the_hash_tells_configurations_apart_by_their_meaning(read: Any) -> None:
    def of(text: str) -> str:
        config: Config = read(f"[agent]\nhostname = 'a'\n{text}", base=True)
        return config.config_hash

    assert of("# a comment\n") == of("stop_grace = '10000ms'\n")
    assert of("") != of("stop_grace = '11s'\n")
    assert len(of("")) == 64


def test_a_reload_sees_a_secret_that_changed_though_the_hash_does_not(read: Any) -> None:
    text = "[sinks.c]\ntype = 'crate'\nurl = 'https://x'\ntoken = '{}'\n"
    one, same, other = (read(text.format(token), base=True) for token in ("a", "a", "b"))
    assert one == same
    assert one != other
    assert one.config_hash == other.config_hash
