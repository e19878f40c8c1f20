"""`[[dataflow]]`, `[ncloud]` and the leader in agent.toml: every mistake at its place, and what is only doubtful."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from far_side import run

from agent import supervisor
from agent.cli import app
from agent.config import Config, load, resolved
from agent.dataflow.rule import JobCondition
from agent.errors import ConfigError
from agent.supervisor import Running

SECRET = "very-secret-key"
BASE = f"""\
[collectors.host]
type = "host"
[sinks.bucket]
type = "object_storage"
bucket = "telemetry"
url = "http://127.0.0.1:9"
access_key = "AK"
secret_key = "{SECRET}"
[sinks.out]
type = "stdout"
"""
LEADER = '[agent]\nhostname = "edge"\nrole = "leader"\n'
ACCOUNT = f'[ncloud]\naccess_key = "AK"\nsecret_key = "{SECRET}"\n'
RULE = '[[dataflow]]\nname = "etl"\nsink = "bucket"\njob = "J1"\nafter_objects = 10\n'
NIGHTLY = """
[[dataflow]]
name = "nightly"
sink = "bucket"
job = "J1"
at = "02:30"
parameters = { prefix = "telemetry/" }
job_condition = { num_worker = 4, timeout = "2h", nrn = "nrn:x", script_path = "b/s/", log_path = "b/l/" }
max_runs_per_day = 1
poll = "30s"
timeout = "6h"
settle = "2m"
"""


def read(folder: Path, text: str) -> Config:
    (folder / "agent.toml").write_text(f"{text}\n{BASE}")
    return load([folder / "agent.toml"], {})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(folder, text)
    return [line.replace(f"{folder}/", "") for line in str(refused.value).splitlines()]


def test_a_rule_is_read_with_every_option(tmp_path: Path) -> None:
    config = read(tmp_path, LEADER + ACCOUNT + NIGHTLY)
    (rule,) = config.led
    assert (rule.target, rule.at, rule.timeout, rule.settle) == ("job:J1", "02:30", 21600.0, 120.0)
    assert isinstance(rule.job_condition, JobCondition)
    assert rule.job_condition.body == {
        "numWorker": 4,
        "timeout": 120,
        "nrn": "nrn:x",
        "scriptPath": "b/s/",
        "logPath": "b/l/",
    }
    assert config.ncloud is not None
    assert config.ncloud.api == "2026"


MISTAKES = [
    (RULE, "1 dataflow[0]", "needs [ncloud], which is missing: its access_key and secret_key are those of the account"),
    (ACCOUNT + RULE.replace('"bucket"', '"buket"'), "6 dataflow[0].sink", 'found "buket"; did you mean bucket?'),
    (ACCOUNT + RULE.replace('"bucket"', '"out"'), "6 dataflow[0].sink", "of the type stdout; there is bucket"),
    (ACCOUNT + RULE + "workflow = 'W'", "9 dataflow[0].workflow", "excludes job: give one of job, workflow"),
    (ACCOUNT + RULE.replace('job = "J1"', ""), "4 dataflow[0].job", "required, but missing: give job or workflow"),
    (
        ACCOUNT + RULE + 'every = "1h"',
        "9 dataflow[0].every",
        "excludes after_objects: give one of after_objects, every",
    ),
    (
        ACCOUNT + RULE.replace("after_objects = 10", ""),
        "4 dataflow[0].after_objects",
        "give after_objects, every or at",
    ),
    (
        ACCOUNT + RULE.replace("after_objects = 10", 'at = "24:00"'),
        "8 dataflow[0].at",
        'expected a time of the day such as "02:30", found "24:00"',
    ),
    (ACCOUNT + RULE.replace("J1", "../jobs"), "7 dataflow[0].job", 'letters, digits, _ and -, found "../jobs"'),
    (ACCOUNT + RULE + RULE.replace("J1", "J2"), "10 dataflow[1].name", "that of agent.toml:5 dataflow[0].name"),
    (ACCOUNT + RULE + RULE.replace("etl", "b"), "12 dataflow[1].job", "that of agent.toml:7 dataflow[0].job"),
    (
        ACCOUNT + RULE.replace("job =", "workflow =") + "parameters = { a = 'b' }",
        "9 dataflow[0].parameters",
        "a workflow is started without: its nodes have conditions of their own",
    ),
    (
        ACCOUNT + 'api = "2024"\n' + RULE,
        "5 dataflow[0]",
        'jobCondition is required, and missing (ncloud.api = "2024")',
    ),
    (
        ACCOUNT + RULE + 'job_condition = { timeout = "90s" }',
        "9 dataflow[0].job_condition.timeout",
        'expected whole minutes such as "6h", found "1m30s"',
    ),
    (ACCOUNT + RULE + "max_runs_per_day = 0", "9 dataflow[0].max_runs_per_day", "expected at least 1, found 0"),
    (ACCOUNT + RULE + "after_object = 1", "9 dataflow[0].after_object", "no such option; did you mean after_objects?"),
    (ACCOUNT + 'zone = "gov"', "4 ncloud.zone", "this service is in public alone"),
    (ACCOUNT + 'url = "http://far.example.net"', "4 ncloud.url", "would show the secret to the network: use TLS"),
    ("[dataflow]\nname = 'etl'", "1 dataflow", "expected tables such as [[dataflow]], found a table"),
    ("[agent]\nrole = 'boss'", "2 agent.role", 'expected one of "leader", "member", found "boss"'),
    ("[nclod]", "1 nclod", "no such table; did you mean ncloud?"),
]


@pytest.mark.parametrize(("text", "where", "what"), MISTAKES, ids=[where for _, where, _ in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_what_to_do(tmp_path: Path, text: str, where: str, what: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(f"agent.toml:{where}: ")
    assert what in found
    assert SECRET not in found


def test_the_example_of_the_page_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dataflow.md").read_text(encoding="utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0].replace("/etc/telemetry-agent", str(tmp_path))
    for name in ("access", "secret"):
        (tmp_path / f"ncloud-{name}.key").write_text(SECRET)
    (tmp_path / "agent.toml").write_text(text + '[collectors.host]\ntype = "host"\n')
    config = load([tmp_path / "agent.toml"], {})
    assert [rule.after_objects for rule in config.led] == [12]
    assert not config.warnings


def test_rules_may_stand_in_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.toml").write_text(LEADER + ACCOUNT + RULE + BASE)
    (folder / "b.toml").write_text(RULE.replace("etl", "other").replace("J1", "J2"))
    assert [rule.name for rule in load([folder], {}).led] == ["etl", "other"]


def test_rules_of_a_member_are_read_and_said_not_to_run_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read(tmp_path, ACCOUNT + RULE)
    assert config.led == ()
    (warning,) = map(str, config.warnings)
    assert warning.endswith(
        'dataflow[0]: rules run only where [agent] has role = "leader", and this agent is a member: '
        "etl does not run here"
    )
    with pytest.raises(SystemExit) as ended:
        app(["check", "--config", str(tmp_path / "agent.toml")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "runs      job J1 after 10 objects in bucket, at most 24 a day; not here: this agent is a member" in said
    assert SECRET not in said


def test_the_printed_configuration_reads_as_the_same_and_its_hash_knows_no_secret(tmp_path: Path) -> None:
    config = read(tmp_path, LEADER + ACCOUNT + RULE)
    assert SECRET not in str(resolved(config)) + repr(config)
    assert read(tmp_path, LEADER + ACCOUNT.replace(SECRET, "another") + RULE).config_hash == config.config_hash
    for other in (ACCOUNT + RULE, LEADER + ACCOUNT + RULE.replace("10", "11"), LEADER + ACCOUNT + 'api = "2024"\n'):
        assert read(tmp_path, other).config_hash != config.config_hash


@pytest.mark.parametrize(
    ("former", "following", "enough"),
    [
        (LEADER + ACCOUNT + RULE, LEADER + ACCOUNT + RULE, True),
        (LEADER + ACCOUNT + RULE, LEADER + ACCOUNT + RULE.replace("10", "11"), False),
        (LEADER + ACCOUNT + RULE, LEADER + ACCOUNT.replace(SECRET, "another") + RULE, False),
        (LEADER + ACCOUNT + RULE, LEADER + ACCOUNT, False),
        (LEADER + ACCOUNT + RULE, LEADER.replace("leader", "member") + ACCOUNT + RULE, False),
        # What a member does not run is nothing to start a fleet anew for.
        (ACCOUNT + RULE, ACCOUNT + RULE.replace("10", "11"), True),
        (ACCOUNT, ACCOUNT.replace(SECRET, "another"), True),
    ],
)
def test_a_reload_that_changes_what_runs_starts_anew(tmp_path: Path, former: str, following: str, enough: bool) -> None:
    assert supervisor.is_enough(read(tmp_path, former), read(tmp_path, following)) == enough


@pytest.mark.parametrize(
    ("role", "life", "asks"),
    [("leader", "reload", True), ("member", "reload", False), ("leader", "look", False)],
)
def test_only_a_leader_that_lives_runs_rules(tmp_path: Path, role: str, life: supervisor.Life, asks: bool) -> None:
    spool = f'[spool]\ndirectory = "{tmp_path}/state"\nmin_free_bytes = 0\n'
    config = read(tmp_path, LEADER.replace("leader", role) + ACCOUNT + RULE + spool)
    works: list[bool] = []

    async def main() -> None:
        stop = asyncio.Event()

        def look(running: Running) -> None:
            works.append("dataflow" in {task.get_name() for task in asyncio.all_tasks()})
            assert (running.dataflow is None) == (role == "member")
            stop.set()

        @asynccontextmanager
        async def beside(running: Running) -> AsyncIterator[None]:
            asyncio.get_running_loop().call_later(0.05, look, running)
            yield

        await supervisor.run(replace(config, sinks={"out": config.sinks["out"]}), stop, beside, life=life)

    run(main())
    assert works == [asks]
