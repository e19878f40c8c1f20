"""Values on their way through servers of either kind: as they were meant, harmless, or not sent at all."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.sandbox.rackspace import elasticsearch
from agent.sandbox.rackspace.event import Event
from agent.sinks.rackspace.escaping import MAX_VALUE, Mode, cut, needs_escaping, reaches_out, tidy, written

INJECTION = 'x","tenantId":"other'
MODES: tuple[Mode, ...] = ("json", "replace", "none")
SERVERS: tuple[elasticsearch.Mode, ...] = ("naive", "escaped")

# Pieces of which breaking out is made, more often than chance would have it.
_pieces = st.sampled_from(
    [
        '"',
        "\\",
        ",",
        ":",
        "}",
        "{",
        " ",
        "\n",
        "\t",
        "\x00",
        '"tenantId":"other"',
        '","tenantId":"other',
        "tags",
        "a",
        "é",
    ]
)
_crafted = st.lists(_pieces, max_size=12).map("".join)
values = st.one_of(st.text(max_size=30), _crafted)


def stored(server: elasticsearch.Mode, mode: Mode, *texts: str) -> elasticsearch.Document | None:
    """What such a server stores of what, tags and data; None where Elasticsearch refuses the document."""
    what, tags, data = (written(text, mode) for text in texts)
    # Through the request's own JSON, as the server reads it.
    what, tags, data = json.loads(json.dumps([what, tags, data]))
    try:
        document = elasticsearch.render(server, "123456", Event(what=what, when=1, tags=tags, data=data))
        return elasticsearch.index(document, "keyword")
    except elasticsearch.UnstoredError:
        return None


@settings(max_examples=400, deadline=None)
@given(values, values, values)
@example(INJECTION, "", "")
@example("", INJECTION, "")
@example("", "", INJECTION)
@example('a","b":{"c":"', "", 'd"},"tenantId":"other')
@example("ends in \\", ',"tenantId":"other', "")
@example('x" ,\n"tenantId" : "other', "", "")
@example('\\\\","tenantId":"other', "", "")
@example("", "", 'x"}')
def test_no_value_ever_reaches_another_tenant(what: str, tags: str, data: str) -> None:
    texts = [tidy(text) for text in (what, tags, data)]
    for server, mode in product(SERVERS, MODES):
        if mode == "none" and any(map(reaches_out, texts)):
            continue  # refused before it is sent
        document = stored(server, mode, *texts)
        if document is not None:
            assert document.tenant == "123456"
            assert not document.doubled


def test_the_injection_is_real_where_nothing_is_done_about_it() -> None:
    document = stored("naive", "none", INJECTION, "", "")
    # The server puts its own tenant behind the text, so that of two it is data that tells the other one.
    assert document is not None
    assert document.doubled
    document = stored("naive", "none", "", "", INJECTION)
    assert document is not None
    assert document.tenant == "other"


@settings(max_examples=200, deadline=None)
@given(values, values, values)
def test_values_arrive_as_they_are_where_the_mode_fits_the_server(what: str, tags: str, data: str) -> None:
    texts = [tidy(text) for text in (what, tags, data)]
    for server, mode in (("naive", "json"), ("escaped", "none")):
        document = stored(server, mode, *texts)  # type: ignore[arg-type]
        assert document is not None
        assert [document.what, document.tags, document.data] == texts


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_value_with_replacements_arrives_the_same_on_either_server(text: str) -> None:
    text = tidy(text)
    expected = "".join({'"': "'", "\\": "/"}.get(char, max(char, " ")) for char in text)
    assert written(text, "replace") == expected
    for server in SERVERS:
        document = stored(server, "replace", text, text, text)
        assert document is not None
        assert (document.what, document.tags, document.data) == (expected, expected, expected)


@given(values)
def test_a_value_that_needs_no_escaping_is_sent_the_same_in_every_mode(text: str) -> None:
    text = tidy(text)
    assert needs_escaping(text) is any(written(text, mode) != text for mode in MODES)
    assert needs_escaping(text) or not reaches_out(text)


@pytest.mark.parametrize("text", ["5\x7f%", "日本語 😀", "line\u2028separator", "it's 90 % / 3", ""])
def test_what_every_server_takes_needs_no_escaping(text: str) -> None:
    assert not needs_escaping(text)


@pytest.mark.parametrize(
    "text", ['{"a":"b","c":1}', 'say "yes", he said', 'C:\\Program "Files"', "back\\", '"', '""', '\\","tenantId":"o']
)
def test_texts_that_only_break_the_document_are_not_taken_for_attacks(text: str) -> None:
    assert not reaches_out(text)
    assert stored("naive", "none", text, "", "") is None or '"' not in text.replace('\\"', "")


@given(st.text(st.characters(codec="utf-8"), min_size=0, max_size=60).map(lambda text: text * 2000))
@settings(max_examples=60, deadline=None)
def test_what_is_cut_fits_and_is_whole_characters(text: str) -> None:
    short = cut(text)
    assert len(short.encode()) <= MAX_VALUE
    if len(text.encode()) <= MAX_VALUE:
        assert short == text
    else:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        assert len(short.encode()) > MAX_VALUE - 4  # no more than a character less than there is room


def test_the_limit_is_exact() -> None:
    assert cut("a" * MAX_VALUE) == "a" * MAX_VALUE
    assert cut("a" * (MAX_VALUE + 1)) == "a" * (MAX_VALUE - 3) + "…"
    assert cut("😀" * 8192).encode() == ("😀" * 8190).encode() + "…".encode()


@pytest.mark.parametrize("char", ["\x00", '"', "\\", "\n", "😀", "é"])
def test_the_longest_request_stays_far_below_what_is_not_answered_any_more(char: str) -> None:
    value = cut(char * (MAX_VALUE // len(char.encode())))
    for mode in MODES:
        body = json.dumps([written(value, mode)] * 3, ensure_ascii=False).encode()
        assert len(body) < 1_048_576 - 1024


@given(st.text(st.characters(codec=None), max_size=20))
@example("\ud800")
@example("a\udc00b\ud83d")
@example("\ud83d\ude00")
def test_halves_of_surrogate_pairs_become_characters(text: str) -> None:
    made = tidy(text)
    made.encode()
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert made == text
    assert tidy("\ud83d\ude00") == "😀"
    assert tidy("a\udc00b") == "a\ufffdb"
