"""`[[events]]` in agent.toml: every mistake at its place, what is only doubtful, and what `check` says."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from agent.cli import app
from agent.cli.declared import ARRAYS, options
from agent.cli.example import example
from agent.cli.page import page
from agent.cli.reference import PAGE
from agent.config import Config, load
from agent.errors import ConfigError
from agent.events.rule import Rule

TABLES = '[collectors.host]\ntype = "host"\n[sinks.out]\ntype = "stdout"\n'


def read(folder: Path, text: str, tables: str = TABLES) -> Config:
    (folder / "agent.toml").write_text(textwrap.dedent(text) + tables)
    return load([folder / "agent.toml"], {})


def problems(folder: Path, text: str, tables: str = TABLES) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(folder, text, tables)
    return [line.replace(f"{folder}/", "") for line in str(refused.value).splitlines()]


def warnings(folder: Path, text: str, tables: str = TABLES) -> list[str]:
    return [str(warning).replace(f"{folder}/", "") for warning in read(folder, text, tables).warnings]


def test_a_rule_is_read_with_every_option(tmp_path: Path) -> None:
    (rule,) = read(
        tmp_path,
        """\
        [[events]]
        name = "disk-full"
        when = "host.disk.used_percent > 90"
        where = { path = "/var*" }
        for = "5m"
        clear = "< 85"
        min_hold = "1m"
        max_per_hour = 10
        tags = { severity = "high" }
        what = "{host}: {tags.path} {{full}}"
        what_clear = "over"
        """,
    ).events
    assert rule == Rule(
        name="disk-full",
        when="host.disk.used_percent > 90",
        where={"path": ("/var*",)},
        lasting=300.0,
        clear="< 85",
        min_hold=60.0,
        max_per_hour=10,
        tags={"severity": "high"},
        what="{host}: {tags.path} {{full}}",
        what_clear="over",
    )


def test_all_mistakes_are_listed_at_once_each_with_its_place(tmp_path: Path) -> None:
    listed = problems(
        tmp_path,
        """\
        [[events]]
        name = "Disk Full"
        when = "host.disk.used_percent > ninety"
        fro = "5m"
        clear = "< 80"

        [[events]]
        name = "b"
        when = "host.disk.used_percent > 90"
        clear = "host.disk.used_percent > 80"
        what = "{valeu} {tags} {fields.a.b}"
        what_clear = "{"
        max_per_hour = 0
        where = { path = [] }

        [[events]]
        name = "b"
        when = "event.b.value > 1"
        for = 300

        [[events]]
        name = "agent"
        when = "host.disk.free < 1"
        clear = "host.disk.used > 2"
        """,
    )
    assert listed == [
        'agent.toml:2 events[0].name: expected a name made of a-z, 0-9, _ and -, found "Disk Full"',
        (
            'agent.toml:3 events[0].when: expected a number, "text", true or false after the operator, '
            'found "ninety"; a text stands in quotes'
        ),
        "agent.toml:4 events[0].fro: no such option; did you mean for?",
        "agent.toml:10 events[1].clear: 91 would meet both when and clear: it would fire and be over with every sample",
        "agent.toml:11 events[1].what: nothing stands for {valeu}; did you mean {value}?",
        "agent.toml:12 events[1].what_clear: a single { at character 1: a brace is written twice",
        "agent.toml:13 events[1].max_per_hour: expected at least 1, found 0",
        "agent.toml:14 events[1].where.path: selects nothing: every record would be left out",
        (
            'agent.toml:17 events[2].name: expected a name of its own, found "b", which is that of agent.toml:8 '
            "events[1].name"
        ),
        (
            "agent.toml:18 events[2].when: events are not watched: expected a source that is none, "
            'found "event.b.value > 1"'
        ),
        'agent.toml:19 events[2].for: expected a duration such as "10s", found 300; did you mean "300s"?',
        "agent.toml:22 events[3].name: event.agent is what the agent says of itself: choose another name",
        (
            "agent.toml:24 events[3].clear: expected a condition of the same field as when, host.disk.free, "
            "found host.disk.used"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[events]\nname = "a"\n', "agent.toml:1 events: expected tables such as [[events]], found a table"),
        ("events = 7\n", "agent.toml:1 events: expected tables such as [[events]], found 7"),
        ("events = [7]\n", "agent.toml:1 events[0]: expected a table, found 7"),
        ('[[events]]\nwhen = "a.b.c > 1"\n', "agent.toml:1 events[0].name: required, but missing: expected a string"),
        ('[[events]]\nname = "a"\n', "agent.toml:1 events[0].when: required, but missing: expected a string"),
        ('[agent]\nlifecycle_events = ["starts"]\n', 'found "starts"; did you mean start?'),
        ('[agent]\nlifecycle_events = "start"\n', "agent.toml:2 agent.lifecycle_events: expected a list"),
        ('[agent]\nlifecycle_jitter = "-1s"\n', "agent.toml:2 agent.lifecycle_jitter: expected a duration"),
        ('[collectors.events]\ntype = "host"\n', "collectors.events: this name is the agent's own: choose another"),
    ],
)
def test_a_mistake_says_what_was_expected_and_found(tmp_path: Path, text: str, said: str) -> None:
    tables = TABLES if "collectors" not in text else '[sinks.out]\ntype = "stdout"\n'
    listed = problems(tmp_path, text, tables)
    assert len(listed) == 1, listed
    assert said in listed[0]


def test_rules_may_stand_in_several_files_and_mistakes_name_the_right_one(tmp_path: Path) -> None:
    one = '[[events]]\nname = "{}"\nwhen = "host.disk.free < {}"\n'
    (tmp_path / "a.toml").write_text(TABLES + one.format("a", "1") + one.format("b", "x"))
    (tmp_path / "b.toml").write_text("# more\n" + one.format("c", "2") + one.format("a", "y"))
    with pytest.raises(ConfigError) as refused:
        load([tmp_path], {})
    assert [str(problem).replace(f"{tmp_path}/", "").partition(": ")[0] for problem in refused.value.problems] == [
        "a.toml:10 events[1].when",
        "b.toml:6 events[3].name",
        "b.toml:7 events[3].when",
    ]
    (tmp_path / "a.toml").write_text(TABLES + one.format("a", "1"))
    (tmp_path / "b.toml").write_text(one.format("b", "2"))
    assert [rule.name for rule in load([tmp_path], {}).events] == ["a", "b"]


def test_a_source_that_fits_no_collector_is_warned_about(tmp_path: Path) -> None:
    text = '[[events]]\nname = "a"\nwhen = "hots.disk.used > 90"\n[[events]]\nname = "b"\nwhen = "*.disk.used > 90"\n'
    assert warnings(tmp_path, text) == [
        (
            'agent.toml:3 events[0].when: "hots.disk" fits no collector of this configuration: '
            'their sources begin with "host."; did you mean host?'
        )
    ]


def test_events_that_no_sink_takes_are_warned_about_and_selecting_them_is_not(tmp_path: Path) -> None:
    rule = '[[events]]\nname = "full"\nwhen = "host.disk.used > 90"\n'
    lifecycle = '[agent]\nlifecycle_events = ["start"]\n'

    def selecting(select: str) -> str:
        return TABLES + f"select = {select}\n"

    assert warnings(tmp_path, rule, selecting('"host.*"')) == [
        "agent.toml:2 events[0].name: no sink selects event.full: add it to the select of one"
    ]
    for select in ('"event.*"', '["host.*", "event.full"]', '"*.full"', '"*"'):
        assert warnings(tmp_path, rule, selecting(select)) == []
    assert warnings(tmp_path, rule, selecting('["event.fall", "event.*"]')) == [
        (
            'agent.toml:8 sinks.out.select: "event.fall" fits no collector of this configuration: '
            'their sources begin with "event.full", "host."'
        )
    ]
    assert warnings(tmp_path, lifecycle, selecting('"host.*"')) == [
        "agent.toml:2 agent.lifecycle_events: no sink selects event.agent: add it to the select of one"
    ]
    assert warnings(tmp_path, lifecycle, selecting('["event.agent", "host.*"]')) == []


def test_a_sink_that_waits_for_events_in_vain_is_warned_about(tmp_path: Path) -> None:
    said = warnings(tmp_path, "", TABLES + '[sinks.notes]\ntype = "stdout"\nselect = "event.*"\n')
    assert said[-1] == (
        "agent.toml:5 sinks.notes: takes events (event.*), and there are none: "
        "add [[events]], or lifecycle_events to [agent]"
    )


def test_sinks_that_share_their_records_are_not_told_of_each_others_outages_and_that_is_said(tmp_path: Path) -> None:
    text = '[agent]\nlifecycle_events = ["outage"]\n'
    shared = TABLES + '[sinks.lake]\ntype = "file"\npath = "/tmp/lake.ndjson"\n'
    assert warnings(tmp_path, text, shared) == [
        (
            "agent.toml:2 agent.lifecycle_events: out and lake select the same records and so share them: "
            "neither is told of an outage of the other; give them selections of their own"
        )
    ]
    assert warnings(tmp_path, text) == [
        'agent.toml:2 agent.lifecycle_events: no sink is told of an outage of out: let another one select "event.agent"'
    ]
    assert warnings(tmp_path, text, shared + 'select = ["event.agent", "host.*"]\n') == []
    assert warnings(tmp_path, text, shared + 'select = "host.*"\n') == [
        'agent.toml:2 agent.lifecycle_events: no sink is told of an outage of out: let another one select "event.agent"'
    ]


def test_check_says_which_events_there_will_be_and_prints_what_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
        [agent]
        hostname = "edge"
        lifecycle_events = ["start", "stop"]
        [[events]]
        name = "full"
        when = "host.disk.used_percent > 90"
        for = "5m"
        where = { path = ["/", "/var*"] }
        """
    config = read(tmp_path, text)
    path = str(tmp_path / "agent.toml")
    with pytest.raises(SystemExit):
        app(["check", "--config", path])
    out = capsys.readouterr().out
    assert (
        "says      event.full when host.disk.used_percent > 90 for 5m, path is / or /var*; "
        "over when host.disk.used_percent <= 90\n"
        "          event.agent for start, stop, each within 5m\n"
    ) in out
    with pytest.raises(SystemExit):
        app(["check", "--config", path, "--print"])
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["events"][0]["for"] == "5m"
    (tmp_path / "again.toml").write_text(printed)
    again = load([tmp_path / "again.toml"], {})
    assert again.events == config.events
    assert again.config_hash == config.config_hash


def test_the_hash_tells_rules_apart(tmp_path: Path) -> None:
    rule = '[agent]\nhostname = "a"\n[[events]]\nname = "full"\nwhen = "host.disk.used > {}"\n'
    assert read(tmp_path, rule.format(90)).config_hash != read(tmp_path, rule.format(91)).config_hash


def test_example_and_documentation_hold_every_option_of_a_rule() -> None:
    words, text = " ".join(example().replace("\n#", "\n").split()), PAGE.read_text()
    assert text == page(text)
    for name, cls in ARRAYS.items():
        assert f"\n[[{name}]]\n" in example()
        for option in options(cls):
            assert option.doc in words
            assert f"| `{option.name}` |" in text
            assert option.doc.endswith(".")


def test_what_the_documentation_shows_loads_without_a_doubt(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (PAGE.parent / "events.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        sink = re.sub(r'type = "rackspace" .*', 'type = "stdout"\nselect = "event.*"', block)
        (tmp_path / "agent.toml").write_text(sink + '[collectors.host]\ntype = "host"\n')
        config = load([tmp_path / "agent.toml"], {})
        assert config.warnings == ()
        assert config.events
