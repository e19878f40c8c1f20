"""What is wrong is said all at once, each with its place, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.errors import ConfigError

KINDS = "cloud_insight, obsrv, rackspace, object_storage, file, stdout, crate"  # one of them from a foreign package

TEN = """\
[agent]
hostnme = "edge"
stop_grace = "fast"
tags = { site = 7 }

[spool]
max_bytes = "64M"
durability = "stric"
interval = 10

[collectors.me]
type = "tank"
every = "0s"
valves = [{ name = "inlet", limit = 11 }, { limit = 2 }]

[sinks.lake]
type = "obsvr"

[sinks.out]
type = "stdout"
token = "${NOWHERE}"
"""


def test_ten_mistakes_in_one_file_are_named_in_ten_places(problems: Any) -> None:
    durabilities = 'one of "strict", "interval", "none"'
    found = problems(TEN)
    assert found[:-2] == [
        "agent.toml:2 agent.hostnme: no such option; did you mean hostname?",
        'agent.toml:3 agent.stop_grace: expected a duration such as "10s", found "fast"',
        "agent.toml:4 agent.tags.site: expected a string, found 7",
        'agent.toml:7 spool.max_bytes: expected a size such as "64MiB", found "64M"; did you mean 64MiB?',
        f'agent.toml:8 spool.durability: expected {durabilities}, found "stric"; did you mean strict?',
        'agent.toml:9 spool.interval: expected a duration such as "10s", found 10; did you mean "10s"?',
        "agent.toml:13 collectors.me.every: expected at least 1s, found 0s",
        "agent.toml:14 collectors.me.valves[0].limit: expected at most 10, found 11",
        "agent.toml:14 collectors.me.valves[1].name: required, but missing: expected a string",
        f'agent.toml:17 sinks.lake.type: expected one of {KINDS}, found "obsvr"; did you mean obsrv?',
    ]
    assert found[-2:] == [
        "agent.toml:21 sinks.out.token: the variable NOWHERE is not set",
        "agent.toml:21 sinks.out.token: no such option",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("every = true", 'every: expected a duration such as "10s", found true'),
        ("every = 1979-05-27", 'every: expected a duration such as "10s", found a date'),
        ("ratio = 'half'", 'ratio: expected a number, found "half"'),
        ("ratio = nan", "ratio: expected a number, found NaN"),
        ("ratio = true", "ratio: expected a number, found true"),
        ("flag = 1", "flag: expected true or false, found 1"),
        ("level = 'hihg'", 'level: expected one of "low", "high", found "hihg"; did you mean high?'),
        ("mode = true", 'mode: expected one of 0, 1, "auto", found true'),
        ("names = 'a'", 'names: expected a list of strings, found "a"'),
        ("names = ['a', 1]", "names[1]: expected a string, found 1"),
        ("owner = 3", "owner: expected a string or a table, found 3"),
        ("owner = { keey = 't' }", "owner.keey: no such option; did you mean key?"),
        ("limits = { a = 'b' }", 'limits.a: expected a whole number, found "b"'),
        ("limits = 3", "limits: expected a table, found 3"),
        ("valves = [3]", "valves[0]: expected a table, found 3"),
        ("valves = [{ name = 'a', clock = { key = 'k', tz = 'Mars' } }]", "valves[0].clock.tz: no such zone"),
        ("tags = ['a']", "tags: expected a table, found a list"),
        ("period = '5s'\nevery = '6s'", "period: the former name of every, which is given too"),
    ],
)
def test_every_kind_of_value_has_its_message(problems: Any, line: str, message: str) -> None:
    text = f"[collectors.me]\ntype = 'tank'\n{line}\n[sinks.out]\ntype = 'stdout'\n"
    found = [problem.partition(" collectors.me.")[2] for problem in problems(text)]
    assert message in found


def test_every_kind_of_value_is_read(read: Any) -> None:
    tank = (
        read("""\
        [collectors.me]
        type = "tank"
        period = "1m30s"
        valves = [{ name = "inlet" }, { name = "outlet", limit = 7, clock = { key = "t" } }]
        ratio = 2
        flag = true
        level = "high"
        mode = 1
        names = ["a", "b"]
        owner = { key = "k" }
        limits = { a = 1 }
        tags = { line = "press" }
        [sinks.crate]
        type = "crate"
        url = "https://crates"
        size = "2KiB"
        folder = "near"
        """)
        .collectors["me"]
        .plugin
    )
    assert (tank.every, tank.ratio, tank.flag, tank.level, tank.mode) == (90.0, 2.0, True, "high", 1)
    assert [(valve.name, valve.limit, valve.clock and valve.clock.key) for valve in tank.valves] == [
        ("inlet", 5, None),
        ("outlet", 7, "t"),
    ]
    assert (tank.names, tank.owner.key, tank.limits) == (["a", "b"], "k", {"a": 1})


def test_an_option_under_its_former_name_is_read_with_a_warning(read: Any) -> None:
    config = read("[collectors.me]\ntype = 'tank'\nperiod = '5s'\n[sinks.out]\ntype = 'stdout'\n")
    assert config.collectors["me"].plugin.every == 5.0
    assert list(map(str, config.warnings)) == [
        "agent.toml:3 collectors.me.period: is now called every; the former name will stop working"
    ]


def test_a_plugin_can_warn(read: Any) -> None:
    config = read('[collectors.me]\ntype="tank"\n[sinks.c]\ntype="crate"\nurl="https://x"\nsize="50B"\n')
    assert list(map(str, config.warnings)) == ["agent.toml:6 sinks.c.size: is rather small"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sinks.a]\ntype = 'stdout'\n", "agent.toml: collectors: required, but missing"),
        ("[collectors.a]\ntype = 'tank'\n", "agent.toml: sinks: required, but missing"),
        ("[collectors.a]\ntype = 'tank'\n[sinks]\n", "agent.toml:3 sinks: required, but missing"),
        ("sinks = 3\n", "agent.toml:1 sinks: expected tables such as [sinks.NAME], found 3"),
        ("[sinks]\nlake = 'obsrv'\n", 'agent.toml:2 sinks.lake: expected a table [sinks.lake], found "obsrv"'),
        (
            "[collectors.stdout]\n",
            "agent.toml:1 collectors.stdout.type: required, but missing: expected one of host, mqtt",
        ),
        ("[sinks.stdout]\n", 'did you mean type = "stdout"?'),
        (
            "[sinks.a]\ntype = 3\n",
            f"agent.toml:2 sinks.a.type: expected one of {KINDS}, found 3",
        ),
        (
            "[sinks.Lake]\ntype = 'stdout'\n",
            'agent.toml:1 sinks.Lake: expected a name made of a-z, 0-9, _ and -, found "Lake"',
        ),
        ("[sinks.intake]\ntype = 'stdout'\n", "agent.toml:1 sinks.intake: this name is the agent's own"),
        ("[sink.a]\n", "agent.toml:1 sink: no such table; did you mean sinks?"),
        ("spool = 3\n", "agent.toml:1 spool: expected a table, found 3"),
        (
            "[collectors.a]\ntype = 'broken'\n",
            "agent.toml:2 collectors.a.type: the plugin broken cannot be loaded: Attr",
        ),
        ("[collectors.a]\ntype = 'odd'\n", "agent.toml:2 collectors.a.type: the plugin odd is no dataclass"),
        ("[sinks.a]\ntype = 'stdout'\nselect = []\n", "agent.toml:3 sinks.a.select: selects nothing"),
        ("[sinks.a]\ntype = 'stdout'\nexclude = '*'\n", "agent.toml:3 sinks.a.exclude: selects nothing"),
        ("[sinks.a]\ntype = 'stdout'\nwhere = { x = [] }\n", "agent.toml:3 sinks.a.where.x: selects nothing"),
        ("[sinks.a]\ntype = 'stdout'\nwas = 'a'\n", "agent.toml:3 sinks.a.was: a is a sink of this configuration"),
        (
            "[sinks.a]\ntype = 'stdout'\nwas = 'x'\n[sinks.b]\ntype = 'stdout'\nwas = 'x'\n",
            "agent.toml:6 sinks.b.was: x is already claimed by sinks.a",
        ),
        (
            "[sinks.a]\ntype = 'crate'\nurl = 'https://x'\nbatch_records = 5\n",
            "agent.toml:4 sinks.a.batch_records: this sink, as it is configured, sends one record at a time",
        ),
        ("[status]\nlisten = '0.0.0.0:80'\n", "agent.toml:2 status.listen: 0.0.0.0 can be reached from other machines"),
        ("[status]\nlisten = 'x'\n", 'agent.toml:2 status.listen: expected an address and port such as "127'),
        (
            "[agent]\nhostname_source = 'dns'\n",
            'agent.toml:2 agent.hostname_source: expected "os", "env:NAME" or "file',
        ),
    ],
)
def test_what_makes_no_sense_as_a_whole_is_a_mistake(problems: Any, text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text))


HIDING = """\
[agent]
tags = { site = 7 }
hostname_source = "env:NO_SUCH"

[collectors.plant]
type = "mqtt"
url = "http://broker"
qos = 1
subscription = [
    { topic = "plant/#/state", qos = 9 },
    { topic = "a/+" },
    { topic = "a/+" },
]

[sinks.lake]
type = "obsrv"
url = "ftp://lake"

[sinks.out]
type = "stdout"
max_age = "old"
was = "lake"
"""


def test_one_mistake_in_a_table_hides_no_other(problems: Any) -> None:
    broker = "expected mqtt://, mqtts://, ws:// or wss:// and a host"
    filters = "collectors.plant.subscription"
    assert problems(HIDING) == [
        "agent.toml:2 agent.tags.site: expected a string, found 7",
        "agent.toml:3 agent.hostname_source: the variable NO_SUCH is not set or empty",
        f'agent.toml:7 collectors.plant.url: not a broker\'s address: {broker}, found "http://broker"',
        "agent.toml:8 collectors.plant.qos: no such option",
        "agent.toml:10 collectors.plant.subscription[0].qos: expected at most 2, found 9",
        f'agent.toml:10 {filters}[0].topic: not a topic filter: # may only be the last level, found "plant/#/state"',
        f"agent.toml:12 {filters}[2].topic: the same filter as subscription[1], a/+: a session has it once",
        "agent.toml:15 sinks.lake.dataset: required, but missing: expected a string",
        'agent.toml:17 sinks.lake.url: expected a URL such as "https://host:port", found "ftp://lake"',
        'agent.toml:21 sinks.out.max_age: expected a duration such as "10s", found "old"',
        "agent.toml:22 sinks.out.was: lake is a sink of this configuration, and so no former name",
    ]


@pytest.mark.parametrize(
    ("lines", "only"),
    [
        ('timeout = "long"\nconnect_timeout = "80s"', "timeout"),
        ("client_cert = 3\nclient_key = 'agent.toml'", "client_cert"),
        ("token = 't'\nallow_insecure = 'yes'", "allow_insecure"),
        ("id_key = 3\nform = 'single'\nbatch_records = 5", "id_key"),
        ("form = 'simple'\nbatch_records = 5", "form"),
    ],
)
def test_nothing_is_said_that_only_the_first_mistake_has_caused(problems: Any, lines: str, only: str) -> None:
    text = "[collectors.me]\ntype='tank'\n[sinks.lake]\ntype='obsrv'\nurl='http://lake'\ndataset='d'\n"
    (problem,) = problems(f"{text}{lines}\n")
    assert f" sinks.lake.{only}: expected " in problem


def test_a_password_in_an_address_is_not_repeated(problems: Any) -> None:
    text = "[collectors.a]\ntype='mqtt'\nsubscription=[{topic='t'}]\nurl='mqtt://agent:canary/7f3a@broker'\n"
    (problem, *_) = (line for line in problems(text) if "collectors.a.url" in line)
    assert "canary" not in problem


@pytest.mark.parametrize(
    ("kind", "option"),
    [(kind, option) for kind in ("mqtt", "obsrv") for option in ("ca_file", "client_cert", "client_key")],
)
def test_a_file_that_an_option_names_has_to_be_there(problems: Any, tmp_path: Path, kind: str, option: str) -> None:
    texts = {
        "mqtt": "[sinks.b]\ntype='stdout'\n[collectors.a]\ntype='mqtt'\nsubscription=[{topic='t'}]\nurl='mqtts://b'\n",
        "obsrv": "[collectors.b]\ntype='tank'\n[sinks.a]\ntype='obsrv'\nurl='https://b'\ndataset='d'\n",
    }
    (found,) = problems(f"{texts[kind]}{option} = 'none.pem'\n")
    role = "collectors" if kind == "mqtt" else "sinks"
    assert found.endswith(f" {role}.a.{option}: none.pem cannot be read: No such file or directory")
    (tmp_path / "none.pem").mkdir()
    (found,) = problems(f"{texts[kind]}{option} = 'none.pem'\n")
    assert found.endswith("none.pem cannot be read: Is a directory")


def test_two_sinks_cannot_write_to_one_file(problems: Any, read: Any, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    text = "[collectors.me]\ntype='tank'\n[sinks.a]\ntype='file'\npath='x'\n[sinks.b]\ntype='file'\npath='again/x'\n"
    assert problems(text) == [
        f"agent.toml:8 sinks.b.path: {tmp_path}/x is that of sinks.a already: each sink needs its own"
    ]
    assert read(text.replace("again/x", "y")).warnings == ()


def test_a_file_whose_directory_is_not_there_is_doubtful(read: Any) -> None:
    config = read("[collectors.me]\ntype='tank'\n[sinks.a]\ntype='file'\npath='later/x'\n")
    assert list(map(str, config.warnings)) == [
        "agent.toml:5 sinks.a.path: later is no directory: nothing is written until it is"
    ]


def test_a_type_that_is_wrong_does_not_hide_mistakes_in_the_common_options(problems: Any) -> None:
    assert 'agent.toml:3 sinks.a.max_age: expected a duration such as "10s", found "old"' in problems(
        "[sinks.a]\ntype = 'nothing'\nmax_age = 'old'\n"
    )


def test_text_that_is_no_toml_is_one_mistake_with_its_line(problems: Any) -> None:
    assert problems("[agent]\nhostname = \n") == ["agent.toml:2: not TOML: Invalid value, at column 12"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "agent.toml: is not UTF-8 text (byte 0)"),
        (None, "agent.toml: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_the_only_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("agent.toml").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load([Path("agent.toml")], {})
    assert str(refused.value) == message


def test_a_byte_order_mark_is_no_mistake(read: Any) -> None:
    assert read("\ufeff[agent]\nhostname = 'edge'\n", base=True).agent.hostname == "edge"
