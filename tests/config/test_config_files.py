"""Several files make one configuration; variables stand in any string."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.config.document import expand
from agent.errors import ConfigError

HOST = "[collectors.me]\ntype = 'tank'\n"
OUT = "[sinks.out]\ntype = 'stdout'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def test_tables_of_several_files_are_put_together(folder: Path) -> None:
    Path("agent.toml").write_text("[agent]\nhostname = 'edge'\n" + HOST)
    Path("conf.d/20.toml").write_text("[sinks.second]\ntype = 'stdout'\n")
    Path("conf.d/10.toml").write_text(OUT + "[collectors.other]\ntype = 'tank'\n")
    Path("conf.d/notes.txt").write_text("not read")
    config = load([Path("agent.toml"), Path("conf.d")], {})
    assert list(config.sinks) == ["out", "second"]  # in lexical order of the files
    assert list(config.collectors) == ["me", "other"]
    assert config.files == (Path("agent.toml"), Path("conf.d/10.toml"), Path("conf.d/20.toml"))


def test_a_table_given_twice_names_both_files(folder: Path) -> None:
    Path("conf.d/a.toml").write_text("[agent]\nhostname = 'a'\n" + HOST + OUT)
    Path("conf.d/b.toml").write_text("\n[agent.tags]\nx = 'y'\n" + OUT)
    with pytest.raises(ConfigError) as refused:
        load([Path("conf.d")], {})
    assert str(refused.value).splitlines() == [
        "conf.d/b.toml:2 agent: given twice: here and in conf.d/a.toml:1",
        "conf.d/b.toml:4 sinks.out: given twice: here and in conf.d/a.toml:5",
    ]


def test_each_mistake_names_its_own_file(folder: Path) -> None:
    Path("conf.d/a.toml").write_text(HOST + "every = 'a'\n")
    Path("conf.d/b.toml").write_text("# b\n" + OUT + "linger = 'b'\n")
    with pytest.raises(ConfigError) as refused:
        load([Path("conf.d")], {})
    assert [problem.where for problem in refused.value.problems] == [
        "conf.d/a.toml:3 collectors.me.every",
        "conf.d/b.toml:4 sinks.out.linger",
    ]


def test_a_file_that_cannot_be_read_raises_no_suspicion_about_the_others(folder: Path) -> None:
    Path("agent.toml").write_text(HOST)
    Path("broken.toml").write_text("[sinks")
    with pytest.raises(ConfigError) as refused:
        load([Path("agent.toml"), Path("broken.toml"), Path("gone.toml")], {})
    assert [problem.where for problem in refused.value.problems] == ["broken.toml:1", "gone.toml"]


def test_a_directory_without_files_is_a_mistake(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory without any"):
        load([Path("conf.d")], {})


def test_a_file_named_twice_is_read_once(folder: Path) -> None:
    Path("conf.d/a.toml").write_text(HOST + OUT)
    assert load([Path("conf.d"), Path("conf.d/a.toml"), folder / "conf.d/a.toml"], {}).files == (Path("conf.d/a.toml"),)


def test_links_that_lead_nowhere_are_mistakes(folder: Path) -> None:
    Path("loop.toml").symlink_to("loop.toml")
    Path("conf.d/gone.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError) as refused:
        load([Path("loop.toml"), Path("conf.d")], {})
    assert list(map(str, refused.value.problems)) == [
        "loop.toml: cannot be read: Too many levels of symbolic links",
        "conf.d/gone.toml: cannot be read: No such file or directory",
    ]


def test_relative_paths_are_relative_to_their_file(folder: Path) -> None:
    Path("conf.d/a.toml").write_text("[spool]\ndirectory = 'state'\n" + HOST + OUT)
    assert load([Path("conf.d")], {}).spool.directory == Path("conf.d/state")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("${EMPTY}", ""),
        ("x-${A}-${B}", "x-one-two"),
        ("${NONE:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${A:-other}", "one"),
        ("${NONE:-}", ""),
        ("${A:?must be set}", "one"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$share/group/a/$SYS/#", "$share/group/a/$SYS/#"),
        ("costs 5$", "costs 5$"),
        ("${QUOTED}", '"]\n[sinks.evil]'),
    ],
)
def test_variables_are_put_in(text: str, value: str) -> None:
    assert expand(text, {"A": "one", "B": "two", "EMPTY": "", "QUOTED": '"]\n[sinks.evil]'}) == value


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${NONE}", "the variable NONE is not set"),
        ("${NONE:?say where}", "say where (the variable NONE is not set)"),
        ("${EMPTY:?say where}", "say where (the variable EMPTY is empty)"),
        ("${EMPTY:?}", "the variable EMPTY is empty"),
        ("${unclosed", 'found "${unclosed"'),
        ("${}", 'found "${}"'),
        ("${a b}", 'found "${a b}"'),
        ("${A:+x}", 'found "${A:+x}"'),
        ("${A:-${B}}", 'found "${A:-${B}"'),
    ],
)
def test_a_missing_or_misspelt_variable_is_a_mistake_with_its_place(problems: Any, written: str, message: str) -> None:
    (found,) = problems(f"[agent.tags]\nsite = '{written}'\n", {"EMPTY": "", "A": "x"}, base=True)
    assert found.startswith("agent.toml:2 agent.tags.site: ")
    assert message in found


def test_numbers_and_switches_may_come_out_of_variables(read: Any) -> None:
    text = (
        "[collectors.me]\ntype='${KIND}'\nvalves=[{name='a', limit='${N}'}]\nflag='${F}'\nratio='${R}'\nevery='${E}'\n"
    )
    environ = {"KIND": "tank", "N": "3", "F": "true", "R": "0.25", "E": "3s"}
    tank = read(text + OUT, environ).collectors["me"].plugin
    assert (tank.valves[0].limit, tank.flag, tank.ratio, tank.every) == (3, True, 0.25, 3.0)


def test_a_string_that_is_no_variable_does_not_pass_for_a_number(problems: Any) -> None:
    assert problems("[collectors.me]\ntype='tank'\nratio='0.25'\n" + OUT) == [
        'agent.toml:3 collectors.me.ratio: expected a number, found "0.25"'
    ]
