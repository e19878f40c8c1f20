"""A password that somebody wrote into a URL, where none belongs: refused, and repeated by no message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.config import load
from agent.errors import ConfigError
from agent.schema import hidden, spellings, without_credentials

MARK = "CaNaRy"
# As passwords are: with what ends a host, a port or the user for one reader and not for another.
PASSWORDS = [
    MARK,
    f"p@{MARK}",
    f"{MARK}/x",
    f"1/{MARK}",
    f"{MARK}:8",
    f"{MARK}?x",
    f"{MARK}#x",
    f"[{MARK}",
    f"{MARK}\u2100",
]
PLACES = {
    "obsrv": '[sinks.a]\ntype = "obsrv"\ndataset = "d"\nurl = @https@\n',
    "obsrv's proxy": '[sinks.a]\ntype = "obsrv"\ndataset = "d"\nurl = "https://h"\nproxy = @http@\n',
    "cloud_insight": '[sinks.a]\ntype = "cloud_insight"\nurl = @https@\naccess_key = "aaaa"\nsecret_key = "bbbb"\n',
    "rackspace": '[sinks.a]\ntype = "rackspace"\ntenant = "1"\nurl = @https@\nquery_url = @http@\n',
    "object_storage": '[sinks.a]\ntype = "object_storage"\nbucket = "bbb"\nurl = @https@\n'
    'access_key = "aaaa"\nsecret_key = "bbbb"\n',
    "a broker": '[collectors.b]\ntype = "mqtt"\nurl = @mqtts@\nsubscription = [{ topic = "a" }]\n',
    "a value of another kind": '[sinks.a]\ntype = "obsrv"\ndataset = "d"\nurl = "https://h"\ntimeout = @https@\n',
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_no_message_repeats_a_password_out_of_a_url(tmp_path: Path, place: str, password: str) -> None:
    text = PLACES[place]
    for scheme in ("https", "http", "mqtts"):
        text = text.replace(f"@{scheme}@", json.dumps(f"{scheme}://user:{password}@far.example.net"))
    more = "" if "[sinks" in text else '[sinks.out]\ntype = "stdout"\n'
    more += "" if "[collectors" in text else '[collectors.host]\ntype = "host"\n'
    file = tmp_path / "agent.toml"
    file.write_text(text + more)
    with pytest.raises(ConfigError) as refused:
        load([file], {})
    assert MARK not in str(refused.value)


@pytest.mark.parametrize("password", [MARK, f"p@{MARK}", f"{MARK}@@", f"{MARK}:@8"])
def test_what_is_printed_of_a_url_ends_before_the_last_at_sign(password: str) -> None:
    assert MARK not in without_credentials(f"proxy socks5://user:{password}@host:1080 is used")
    assert without_credentials("https://host/a, to a@b.c") == "https://host/a, to a@b.c"


def test_a_secret_is_found_however_it_is_written() -> None:
    secret = "a/b+c=\"d\\e'f&g"
    for form in spellings(secret):
        assert hidden(f"before {form} after", [secret]) == "before *** after"
    assert hidden("abc", ["abc"]) == "abc"  # three characters would garble every text
