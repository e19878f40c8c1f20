"""Any bytes from a broker, through both readers, cut anywhere, and what both can read compared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutate import BUSY, mutated
from fuzz.packets import Message, bench, mqtt5, mqtt311, publish, seeds

# The codec of MQTT 5 raises by the way over text that is no UTF-8; what it raises then ends the connection in words.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@settings(max_examples=120, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds("5")))
def test_the_reader_of_mqtt_5_gives_the_same_however_the_bytes_are_cut(data: bytes) -> None:
    mqtt5(data)


@settings(max_examples=50, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds("3.1.1")))
def test_the_reader_of_mqtt_3_1_1_gives_the_same_however_the_bytes_are_cut(data: bytes) -> None:
    mqtt311(data)


_LEVEL = st.text(st.characters(exclude_characters="\0+#/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
_TOPIC = st.lists(_LEVEL, min_size=1, max_size=4).map("/".join)
_FLAGS = st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x0A, 0x0B])  # QoS 0 and 1, retained, sent again
_PAYLOAD = st.one_of(st.binary(max_size=40), st.integers(100, 20_000).map(lambda size: b"p" * size))


@st.composite
def _messages(draw: st.DrawFn) -> list[Message]:
    found = []
    for _ in range(draw(st.integers(1, 6))):
        flags = draw(_FLAGS)
        number = draw(st.integers(1, 0xFFFF)) if flags & 6 else 0
        found.append((draw(_TOPIC), draw(_PAYLOAD), number, flags))
    return found


@settings(max_examples=60, deadline=10_000, suppress_health_check=BUSY)
@given(_messages(), st.integers(1, 40))
def test_both_readers_give_the_messages_that_were_sent(messages: list[Message], size: int) -> None:
    for version in ("5", "3.1.1"):
        sent = b"".join(publish(version, each) for each in messages)
        pieces = [sent[at : at + 500 * size] for at in range(0, len(sent), 500 * size)]
        assert bench().session(version, pieces).messages == messages


_ANSWER = st.one_of(
    st.binary(max_size=6),
    st.lists(st.sampled_from([0, 1, 2, 3, 0x80, 0x87, 0xFF]), max_size=5).map(bytes),
    st.lists(st.sampled_from([0, 1, 0x87]), max_size=3).map(lambda codes: b"\0" + bytes(codes)),
)


@settings(max_examples=60, deadline=10_000, suppress_health_check=BUSY)
@given(_ANSWER)
def test_an_answer_to_subscribe_has_one_code_or_ends_the_connection(body: bytes) -> None:
    for version in ("5", "3.1.1"):
        bench().asked(version, body)


def test_an_answer_to_subscribe_without_a_code_is_named() -> None:
    assert "0 codes" in bench().asked("5", b"\0")
    assert "3 codes" in bench().asked("3.1.1", b"\1\1\1")
