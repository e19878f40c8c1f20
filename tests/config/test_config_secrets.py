"""Secrets come from text, variables, files and credentials, and are shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config, resolved
from agent.options import is_loopback, secret_in_the_clear
from agent.schema import Secret

CANARY = "canary-7f3a"
CRATE = "[collectors.me]\ntype='tank'\n[sinks.c]\ntype='crate'\nurl='https://crates.example.org'\n"


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(CANARY)
    for text in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        repr([secret]),
        json.dumps(str(secret)),
    ):
        assert CANARY not in text
    assert secret.reveal() == CANARY


@pytest.mark.parametrize(
    ("line", "environ"),
    [
        (f"token = '{CANARY}'", {}),
        ("token = '${TOKEN}'", {"TOKEN": CANARY}),
        ("token_file = 'token'", {}),
        ("token = 'credential:lake'", {"CREDENTIALS_DIRECTORY": "."}),
        ("pass_file = 'token'", {}),
    ],
)
def test_secrets_are_read_from_all_four_places(read: Any, tmp_path: Path, line: str, environ: dict[str, str]) -> None:
    (tmp_path / "token").write_text(CANARY + "\n")
    (tmp_path / "lake").write_text(CANARY + "\n")
    config: Config = read(CRATE + line + "\n", environ)
    crate: Any = config.sinks["c"].plugin
    assert (crate.token or crate.password).reveal() == CANARY
    shown = repr(config) + str(resolved(config)) + config.config_hash + "".join(map(str, config.warnings))
    assert CANARY not in shown
    assert "***" in shown


def test_a_secret_out_of_a_file_is_read_again_when_it_is_asked_for_fresh(read: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    token = read(CRATE + "token_file = 'token'\n").sinks["c"].plugin.token
    (tmp_path / "token").write_text("new")
    assert token.reveal() == "old"
    assert token.reveal(fresh=True) == "new"


def test_plugins_with_the_same_secrets_are_equal_so_that_a_reload_keeps_them(read: Any) -> None:
    one, same, other = (read(CRATE + f"token = '{text}'\n").sinks["c"].plugin for text in ("a", "a", "b"))
    assert one == same
    assert hash(one.token) == hash(same.token)
    assert one != other


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("token_file = 'gone'", "sinks.c.token_file: gone cannot be read: No such file or directory"),
        ("token_file = 'empty'", "sinks.c.token_file: empty is empty"),
        ("token_file = 3", "sinks.c.token_file: expected the path of a file, found 3"),
        ("token = 3", "sinks.c.token: expected a string, found something else"),
        ("token = 'a'\ntoken_file = 'b'", "sinks.c.token_file: give token or token_file, not both"),
        ("token = 'credential:lake'", "sinks.c.token: credential lake: CREDENTIALS_DIRECTORY is not set"),
        ("token = 'credential:../x'", 'sinks.c.token: expected "credential:NAME"'),
        ("tokn_file = 'a'", "sinks.c.tokn_file: no such option; did you mean token_file?"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_mistake(problems: Any, tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (found,) = problems(CRATE + lines + "\n")
    assert message in found


MISPLACED = f"""
[agent]
stop_grace = "${{SECRET}}"
hostname_source = "${{SECRET}}"
[log]
level = "${{SECRET}}"
[status]
listen = "${{SECRET}}"
[collectors.me]
type = "${{SECRET}}"
[collectors.it]
type = "tank"
ratio = "${{SECRET}}"
mode = "${{SECRET}}"
owner = "${{SECRET}}"
limits = {{ a = "${{SECRET}}" }}
[sinks.c]
type = "crate"
url = "http://user:{CANARY}@far.example.org"
token = {{ text = "{CANARY}" }}
pasword = "{CANARY}"
size = "${{SECRET}}"
max_age = "http://user:{CANARY}@far.example.org"
"""


def test_no_message_shows_a_secret_that_stands_where_it_does_not_belong(problems: Any) -> None:
    found = problems(MISPLACED, {"SECRET": CANARY})
    assert len(found) >= 10
    assert CANARY not in "\n".join(found)


def test_a_secret_over_plain_http_is_refused(problems: Any, read: Any) -> None:
    plain = CRATE.replace("https", "http") + "token = 'x'\n"
    (found,) = problems(plain)
    assert found == (
        "agent.toml:5 sinks.c.url: plain http to crates.example.org would show the secret to the network: "
        "use TLS, or allow_insecure = true"
    )
    assert read(plain + "allow_insecure = true\n")
    assert read(plain.replace("crates.example.org", "127.0.0.1:8080"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_is_known_by_its_names_and_numbers(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.org", "10.0.0.1", "0.0.0.0", "::", "1270.0.0.1"])
def test_other_hosts_are_not_taken_for_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("mqtt://broker:1883", True),
        ("broker:1883", True),
        ("ws://broker", True),
        ("mqtts://broker:8883", False),
        ("mqtt://[::1]:1883", False),
        ("wss://broker", False),
    ],
)
def test_the_same_holds_for_brokers(url: str, refused: bool) -> None:
    assert bool(secret_in_the_clear(url, Secret("x"), allow_insecure=False)) is refused
    assert not secret_in_the_clear(url, None, allow_insecure=False)


def test_a_password_within_a_url_counts_as_a_secret() -> None:
    assert secret_in_the_clear("http://user:pass@far", None, allow_insecure=False)
