"""Log lines as they leave a real process."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from children import environment, run

PROGRAM = """
import logging, warnings
import agent.service
from agent.schema import Secret
import structlog
token = Secret("s3cr3t-t0k3n")
agent.service.setup_logging({level!r}, {format!r}, hide=[token])
log = structlog.get_logger()
{body}
"""


def program(body: str, level: str = "info", format: str = "auto") -> str:
    return PROGRAM.format(body=body, level=level, format=format)


DOWN = 'log.warning("sink down", sink="lake", reason="connection refused", tries=3)'


def test_text_is_a_line_to_read() -> None:
    _, out, err = run(program(DOWN))
    assert out == ""
    stamp, line = err.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", stamp)
    assert line == 'warning sink down                    sink=lake reason="connection refused" tries=3\n'


def test_under_systemd_it_is_json_a_line() -> None:
    for variable in ("JOURNAL_STREAM", "INVOCATION_ID"):
        _, _, err = run(program(DOWN), **{variable: "8:12345"})
        line = json.loads(err)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
        assert line == {
            "level": "warning",
            "event": "sink down",
            "sink": "lake",
            "reason": "connection refused",
            "tries": 3,
        }


def test_the_operator_s_choice_of_format_wins() -> None:
    assert json.loads(run(program(DOWN, format="json"))[2])["event"] == "sink down"
    assert "warning sink down" in run(program(DOWN, format="text"), INVOCATION_ID="1")[2]


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_journal_files_a_line_under_its_priority(tmp_path: Path, format: str) -> None:
    # JOURNAL_STREAM names the file that standard error is: only then is it the journal.
    log = tmp_path / "journal"
    with log.open("wb") as out:
        stat = os.fstat(out.fileno())
        body = f'{DOWN}\nlog.info("up")\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception("a bug")'
        subprocess.run(
            [sys.executable, "-c", program(body, format=format)],
            stderr=out,
            check=True,
            env=environment(JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}"),
        )
    lines = log.read_text().splitlines()
    assert lines[0].startswith("<4>")
    assert lines[1].startswith("<6>")
    assert len(lines) > (4 if format == "text" else 2)
    assert all(line.startswith("<3>") for line in lines[2:])  # every line of the traceback is a line of the journal
    if format == "json":
        assert json.loads(lines[0][3:])["event"] == "sink down"


@pytest.mark.parametrize(("extra", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals_that_want_them(extra: dict[str, str], colours: bool) -> None:
    screen, side = pty.openpty()
    try:
        # A terminal stays one where a service manager started the session it belongs to.
        env = environment(**{"TERM": "xterm", "INVOCATION_ID": "1", **extra})
        subprocess.run([sys.executable, "-c", program(DOWN)], stderr=side, check=True, env=env)
        line = os.read(screen, 4096).decode()
    finally:
        os.close(screen)
        os.close(side)
    assert ("\x1b[" in line) == colours
    assert "sink down" in line
    assert re.search(r"\d\d:\d\d:\d\d ", line)


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_secret_leaves_by_the_log(format: str) -> None:
    body = """
log.info("as a value", token=token, nested={"tokens": [token, ("Bearer s3cr3t-t0k3n", b"s3cr3t-t0k3n")]})
log.info("in the event: s3cr3t-t0k3n")
try:
    raise RuntimeError("https://user:s3cr3t-t0k3n@lake.example/")
except RuntimeError as error:
    log.exception("in a traceback")
    log.error("as an error", error=error)
logging.getLogger("aiohttp").error("in a library's line: %s", "s3cr3t-t0k3n")
warnings.warn("in a warning s3cr3t-t0k3n")
"""
    code, _, err = run(program(body, format=format))
    assert code == 0
    assert "s3cr3t" not in err
    assert err.count("***") >= 9


def test_a_secret_that_is_renewed_while_it_runs_is_hidden_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first-token\n")
    body = f"""
from pathlib import Path
renewed = Secret(path={str(tmp_path / "token")!r})
agent.service.setup_logging(hide=[renewed])
log.info("now", a="first-token", b="other-token")
Path({str(tmp_path / "token")!r}).write_text("other-token")
renewed.reveal(fresh=True)
log.info("then", b="other-token")
"""
    _, _, err = run(program(body))
    first, second = err.splitlines()
    assert "a=*** b=other-token" in first
    assert "b=***" in second


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_secret_is_hidden_as_errors_quote_it_too(format: str) -> None:
    body = r"""
import json
for word in ('pa"ss\\word1', "it's-a-\"secret", "l\u00e4ng\n\ud55c-word", "tab\tand-more"):
    agent.service.setup_logging("info", FORMAT, hide=[Secret(word)])
    said = OSError(f"login {word} 'refused'")
    log.error("x", a=repr(said), b=repr(f'{word}'), c=json.dumps(word), d=json.dumps(word, ensure_ascii=False))
    log.error("x", e=repr(word.encode()), f=repr(word + chr(34)), g=word, h=repr(word + chr(39)))
""".replace("FORMAT", repr(format))
    code, _, err = run(program(body, format=format))
    assert code == 0, err
    assert len(err.splitlines()) == 8
    assert err.count("***") == 4 * 8
    for part in ("word1", "secret", "word", "and-more"):
        assert part not in err


def test_secrets_of_a_configuration_are_found_however_deep() -> None:
    from dataclasses import dataclass

    from agent.schema import Secret
    from agent.service import secrets_in

    @dataclass(frozen=True, slots=True)
    class Plugin:
        password: Secret
        headers: dict[str, Secret]

    one, two, three = Secret("one"), Secret("two"), Secret("three")
    assert list(secrets_in({"lake": Plugin(one, {"X-Key": two}), "more": [(three, 1)]})) == [one, two, three]


def test_what_a_far_side_says_cannot_forge_a_line_or_move_the_cursor() -> None:
    said = r'log.info("refused\n<3>", answer="no\n2026-01-01 error forged\x1b[2J\x9b1m", **{"k\ney": "\r\n"})'
    _, _, err = run(program(said, format="text"))
    assert len(err.splitlines()) == 1
    assert err.rstrip("\n").isprintable()
    assert "forged" in err


@pytest.mark.parametrize("format", ["text", "json"])
def test_nothing_that_is_said_can_break_the_log(format: str) -> None:
    body = r"""
log.info("odd", a=float("nan"), b=2**80, c="\udc80", d=b"\xff\x00", e={1: {2, 3}}, f=object, g=None, h="한국어")
logging.getLogger("odd").error("%d", "not a number")
logging.getLogger("odd").log(35, "between two levels")
"""
    code, _, err = run(program(body, format=format))
    assert code == 0
    assert "한국어" in err
    assert "between two levels" in err
    if format == "json":
        first = json.loads(err.splitlines()[0])
        assert (first["a"], first["b"], first["e"]) == ("nan", 2**80, {"1": [2, 3]})


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    with open("/dev/full", "wb") as full:
        env = environment()
        body = 'log.error("disk full")\nprint("went on")'
        ended = subprocess.run(
            [sys.executable, "-c", program(body)], stdout=subprocess.PIPE, stderr=full, env=env, check=True
        )
    assert ended.stdout == b"went on\n"


def test_levels_are_obeyed_and_libraries_only_heard_when_they_warn() -> None:
    body = """
log.debug("a detail")
log.info("a fact")
log.warning("a surprise")
logging.getLogger("aiomqtt").info("chatter")
logging.getLogger("aiomqtt").warning("trouble")
"""
    assert [line.split()[1] for line in run(program(body, "info"))[2].splitlines()] == ["info", "warning", "warning"]
    assert "chatter" not in run(program(body, "debug"))[2]
    assert "a detail" in run(program(body, "debug"))[2]
    assert run(program(body, "error"))[2] == ""


def test_a_reload_changes_level_and_format_of_loggers_already_used() -> None:
    body = 'log.info("before")\nagent.service.setup_logging("warning", "json")\nlog.info("lost")\nlog.warning("after")'
    before, after = run(program(body))[2].splitlines()
    assert "before" in before
    assert json.loads(after)["event"] == "after"


def test_the_service_does_not_load_what_it_does_not_use() -> None:
    _, out, err = run(
        "import agent.service, sys\n"
        "heavy = {'rich', 'typer', 'aiohttp', 'logging.config', 'prometheus_client'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import rich.console"  # it is there for the commands that want it
    )
    assert (out, err) == ("[]\n", "")
