"""The frame codec: what is written is read, and damage costs no more than what it touches."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooling import part, records

from agent.spool import Kind
from agent.spool.clock import Clock
from agent.spool.frame import (
    BODY_BYTES,
    HEADER_BYTES,
    MAGIC,
    Draft,
    Header,
    Stamp,
    claims_of,
    draft,
    is_whole,
    lengths_of,
    origin_of,
    parse,
)
from agent.spool.gather import claim_once, drafts
from agent.spool.recovery import records as records_of
from agent.spool.scan import File, Window, payload, walk

SEGMENT = 0x0123456789ABCDEF
STAMP = Stamp(1_790_000_000_000, 1_790_000_000_005, 1000, 1005, b"b" * 16)

# What checked JSON can be: any text without a NUL, as UTF-8.
json_like = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=40).map(
    str.encode
)
groups = st.lists(st.lists(json_like, min_size=1, max_size=6), min_size=1, max_size=6)


def made(data: Sequence[bytes], *, packets: Sequence[int] | None = None, hashes: Sequence[int] | None = None) -> Draft:
    return draft(
        Kind.RECORDS,
        STAMP,
        b"plant",
        b",".join(data),
        array("I", map(len, data)),
        None if packets is None else array("H", packets),
        None if hashes is None else array("Q", hashes),
    )


def log(found: Sequence[Sequence[bytes]], base: int = 100) -> tuple[bytes, list[tuple[int, int]]]:
    """Frames one after the other, and where each begins and ends."""
    out, places = b"", []
    for data in found:
        one = made(data)
        frame = one.header(SEGMENT, 7, base) + one.columns + one.body
        places.append((len(out), len(out) + len(frame)))
        out += frame
        base += len(data)
    return out, places


def scanned(data: bytes, chunk: int = 512) -> list[tuple[Header, list[bytes]]]:
    """Every whole frame the scan finds."""
    fd = os.memfd_create("log")
    try:
        os.write(fd, data)
        out = []
        with File(Path(f"/dev/fd/{fd}")) as file:
            window = Window(file, len(data), chunk=chunk)
            for offset, header in walk(window, 0, len(data), SEGMENT):
                text = payload(window, offset, header)
                if is_whole(header, text):
                    out.append((header, records_of(header, text)))
        return out
    finally:
        os.close(fd)


@given(st.lists(json_like, min_size=1, max_size=20), st.booleans(), st.data())
def test_a_frame_is_read_as_it_was_written(data: list[bytes], columns: bool, more: st.DataObject) -> None:
    packets = more.draw(st.lists(st.integers(0, 65535), min_size=len(data), max_size=len(data))) if columns else None
    hashes = [packet * 0x9E3779B97F4A7C15 % 2**64 for packet in packets] if packets is not None else None
    one = made(data, packets=packets, hashes=hashes)
    frame = one.header(SEGMENT, 7, 41) + one.columns + one.body
    header = parse(frame, SEGMENT)
    assert header is not None
    text = memoryview(frame)[HEADER_BYTES:]
    assert one.size == header.size == len(frame)
    assert (header.base, header.end, header.group, header.kind) == (41, 41 + len(data), 7, Kind.RECORDS)
    assert (header.oldest_ms, header.newest_ms, header.oldest_boot_ms, header.boot) == (
        STAMP.oldest_ms,
        STAMP.newest_ms,
        1000,
        STAMP.boot,
    )
    assert is_whole(header, text)
    assert origin_of(header, text) == "plant"
    assert list(lengths_of(header, text)) == list(map(len, data))
    assert records_of(header, text) == data
    claims = claims_of(header, text)
    assert (claims is None) == (packets is None)
    if claims is not None:
        assert (list(claims[0]), list(claims[1])) == (packets, hashes)


@given(groups, st.data())
def test_a_flipped_bit_costs_its_frame_alone(found: list[list[bytes]], more: st.DataObject) -> None:
    data, places = log(found)
    bit = more.draw(st.integers(0, len(data) * 8 - 1))
    spoiled = bytearray(data)
    spoiled[bit // 8] ^= 1 << bit % 8
    hit = next(i for i, (start, end) in enumerate(places) if start <= bit // 8 < end)
    assert [got for _, got in scanned(bytes(spoiled))] == [one for i, one in enumerate(found) if i != hit]


@given(groups, st.binary(max_size=300), st.data())
def test_the_scan_goes_on_after_garbage(found: list[list[bytes]], garbage: bytes, more: st.DataObject) -> None:
    data, places = log(found)
    at = more.draw(st.sampled_from([start for start, _ in places]))
    # Pieces of real frames among it: a magic, a whole header with nothing behind.
    garbage = garbage + MAGIC + data[: more.draw(st.integers(0, HEADER_BYTES))]
    assert [got for _, got in scanned(data[:at] + garbage + data[at:])] == found


def test_a_header_with_nothing_behind_does_not_hide_the_frame_that_follows() -> None:
    data, _ = log([[b"0"], [b"1", b"2"]])
    assert [got for _, got in scanned(data[:HEADER_BYTES] + data)] == [[b"0"], [b"1", b"2"]]


@given(groups, st.data())
def test_a_cut_leaves_exactly_the_whole_frames(found: list[list[bytes]], more: st.DataObject) -> None:
    data, places = log(found)
    cut = more.draw(st.integers(0, len(data)))
    expected = [one for one, (_, end) in zip(found, places, strict=True) if end <= cut]
    assert [got for _, got in scanned(data[:cut])] == expected


@given(groups, groups, st.data())
def test_no_payload_forges_a_frame(found: list[list[bytes]], inner: list[list[bytes]], more: st.DataObject) -> None:
    """Not even one that is a whole log of another segment; and what is checked JSON cannot hold the magic."""
    forged = made([b"forged"])
    foreign = forged.header(SEGMENT ^ 1, 7, 101) + forged.columns + forged.body
    place = more.draw(st.integers(0, len(found) - 1))
    found = [[*one, foreign] if i == place else one for i, one in enumerate(found)]
    data, places = log(found)
    # Damage the frame around it, so that the scan has to look inside.
    start, _ = places[place]
    spoiled = data[: start + 8] + bytes([data[start + 8] ^ 1]) + data[start + 9 :]
    assert [got for _, got in scanned(spoiled)] == [one for i, one in enumerate(found) if i != place]
    assert all(MAGIC not in record for one in inner for record in one)


def test_a_lost_frame_shows_in_the_next_ones_index() -> None:
    found = [records(3), records(5), records(2)]
    data, places = log(found)
    (first, _), (second, _) = scanned(data[: places[1][0]] + data[places[1][1] :])
    assert second.base - first.end == 5


@pytest.mark.parametrize("chunk", [128, 4096, 72 * 1024])
def test_frames_larger_than_what_is_read_at_once_are_found(chunk: int) -> None:
    found = [records(1, size=50_000), records(2), records(1, size=300_000), records(1)]
    assert [got for _, got in scanned(log(found)[0], chunk)] == found


def test_parts_become_full_frames_and_no_body_passes_the_limit() -> None:
    parts = [part(records(40, i * 40, 250)) for i in range(20)] + [part(records(1, size=200_000)), part(records(3))]
    out = drafts(parts, clock := Clock(), clock.distance())
    sizes = [len(one.body) for one in out]
    assert [record for one in out for record in _records(one)] == [record for one in parts for record in one.records]
    assert [size for size in sizes if size > BODY_BYTES] == [200_000]
    # Full: another record would not have fitted.
    assert all(size + 251 > BODY_BYTES for size in sizes[: len(sizes) - 3])


def test_parts_of_other_origins_kinds_and_times_do_not_share_a_frame() -> None:
    old = part(records(1), received_ms=1_790_000_000_000)
    near = part(records(1), received_ms=1_790_000_000_900)
    late = part(records(1), received_ms=1_790_000_002_000)
    other = part(records(1), origin="host", received_ms=1_790_000_002_000)
    dead = part(records(1), kind=Kind.DEAD, received_ms=1_790_000_002_000)
    out = drafts([old, near, late, other, dead], clock := Clock(), clock.distance())
    assert [(one.count, one.kind) for one in out] == [(2, 1), (1, 1), (1, 1), (1, 2)]
    assert (out[0].stamp.oldest_ms, out[0].stamp.newest_ms) == (1_790_000_000_000, 1_790_000_000_900)


def test_a_part_without_packets_claims_none_beside_one_with() -> None:
    out = drafts([part(records(2)), part(records(1), packets=[7], hashes=[9])], clock := Clock(), clock.distance())
    (one,) = out
    header = parse(one.header(1, 1, 0))
    assert header is not None
    claims = claims_of(header, memoryview(one.columns + one.body))
    assert claims is not None
    assert [list(column) for column in claims] == [[0, 0, 7], [0, 0, 9]]


def test_a_packet_is_claimed_by_the_last_record_that_is_written_of_it() -> None:
    two = part(records(4), lane="b", packets=[5, 5, 6, 0], hashes=[1, 1, 2, 0])
    one = part(records(3), lane="a", packets=[5, 7, 7], hashes=[1, 3, 3])
    kept = claim_once([two, one])
    assert [list(each.packets or ()) for each in kept] == [[0, 5, 6, 0], [0, 0, 7]]
    plain = part(records(3), packets=[1, 2, 3], hashes=[1, 2, 3])
    (unchanged,) = claim_once([plain])
    assert list(unchanged.packets or ()) == [1, 2, 3]


def test_columns_that_do_not_fit_are_refused_before_anything_is_written() -> None:
    for packets, hashes in (([1], [1]), ([1, 2], [1]), ([1, 70_000], [1, 2])):
        with pytest.raises((ValueError, OverflowError)):
            claim_once([part(records(2), packets=packets, hashes=hashes)])


def _records(one: Draft) -> list[bytes]:
    header = parse(one.header(1, 1, 0))
    assert header is not None
    return records_of(header, memoryview(one.columns + one.body))
