"""The file sink: every batch once, whole lines only, rotated by size."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from far_side import record, run, run_of

from agent.errors import Retryable
from agent.ports import Parcel
from agent.sinks.file import File


def parcel(id: str, *records: bytes) -> Parcel:
    sink = File(path=Path("unused"))
    return Parcel(id, sink.pack(id, 1, sink.encode(run_of(records))), len(records))


def numbered(n: int) -> Parcel:
    return parcel(f"batch-{n}", record(b'{"n":%d}' % n), record(b'{"n":%d}' % n))


def send(sink: File, *parcels: Parcel) -> None:
    async def main() -> None:
        async with sink.open() as deliver:
            for each in parcels:
                await deliver(each)

    run(main())


def lines(path: Path) -> list[int]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["fields"]["n"] for line in text.splitlines()]


def test_a_batch_is_its_records_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    send(File(path=file), parcel("a", b'{"x":1}', b'{"y":[1,2]}'), parcel("b", b'{"z":"\\n"}'))
    assert file.read_bytes() == b'{"x":1}\n{"y":[1,2]}\n{"z":"\\n"}\n'


@pytest.mark.parametrize("fsync", [True, False])
def test_batches_that_come_again_after_a_crash_are_not_written_twice(tmp_path: Path, fsync: bool) -> None:
    file = tmp_path / "out.ndjson"
    sink = File(path=file, fsync=fsync)
    send(sink, *map(numbered, range(3)))
    send(sink, *map(numbered, range(1, 5)))  # another life: the cursor was older than the file
    assert lines(file) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_lost_list_of_batches_costs_a_repetition_at_most(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    send(File(path=file), numbered(0))
    (tmp_path / "out.ndjson.batches").write_bytes(b"\xff\x00garbage")
    send(File(path=file), numbered(0), numbered(1))
    assert lines(file) == [0, 0, 0, 0, 1, 1]


def test_files_rotate_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    sink = File(path=file, max_bytes=2 * len(numbered(0).body), keep=2)
    send(sink, *map(numbered, range(9)))
    assert lines(file) == [8, 8]
    assert lines(tmp_path / "out.ndjson.1") == [6, 6, 7, 7]
    assert lines(tmp_path / "out.ndjson.2") == [4, 4, 5, 5]
    assert not (tmp_path / "out.ndjson.3").exists()


def test_former_files_are_compressed_on_request_also_after_a_change_of_mind(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    for n in range(5):
        send(File(path=file, max_bytes=1, keep=3, compress=n % 2 == 1), numbered(n))
    kept = {path.name: lines(path) for path in tmp_path.iterdir() if path.suffix != ".batches"}
    assert kept == {
        "out.ndjson": [4, 4],
        "out.ndjson.1": [3, 3],
        "out.ndjson.2.gz": [2, 2],
        "out.ndjson.3": [1, 1],
    }


def test_nothing_former_is_kept_when_none_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    send(File(path=file, max_bytes=1, keep=0), *map(numbered, range(3)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ndjson", "out.ndjson.batches"]
    assert lines(file) == [2, 2]


def test_a_file_that_somebody_moves_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"

    async def main() -> None:
        async with File(path=file).open() as deliver:
            await deliver(numbered(0))
            file.rename(tmp_path / "moved")
            await deliver(numbered(1))

    run(main())
    assert (lines(tmp_path / "moved"), lines(file)) == ([0, 0], [1, 1])


def test_a_line_torn_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    file.write_bytes(b'{"whole":1}\n{"torn')
    send(File(path=file), parcel("a", b'{"x":1}'))
    assert file.read_bytes() == b'{"whole":1}\n{"torn\n{"x":1}\n'


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Any file in this process stops growing there, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_batch_written_in_part_leaves_no_trace_and_is_written_whole_later(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"

    async def main() -> None:
        async with File(path=file).open() as deliver:
            await deliver(numbered(0))
            size = file.stat().st_size
            with largest_file(size + 10):
                for _ in range(2):
                    with pytest.raises(Retryable) as caught:
                        await deliver(numbered(1))
                    assert not caught.value.operator
                    assert file.stat().st_size == size
            await deliver(numbered(1))

    run(main())
    assert lines(file) == [0, 0, 1, 1]


def test_a_batch_that_is_in_the_file_but_not_on_the_list_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    (tmp_path / "out.ndjson.batches").mkdir()

    async def main() -> None:
        (tmp_path / "out.ndjson.batches").rmdir()
        async with File(path=file).open() as deliver:
            (tmp_path / "out.ndjson.batches").mkdir()
            with pytest.raises(Retryable):
                await deliver(numbered(0))
            (tmp_path / "out.ndjson.batches").rmdir()
            await deliver(numbered(0))

    run(main())
    assert lines(file) == [0, 0]


def test_a_full_disk_is_waited_out() -> None:
    async def main() -> None:
        async with File(path=Path("/dev/full")).open() as deliver:
            await deliver(numbered(0))

    with pytest.raises(Retryable, match="/dev/full: No space left on device"):
        run(main())


def test_a_missing_directory_is_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="No such file") as caught:
        send(File(path=tmp_path / "missing" / "out.ndjson"), numbered(0))
    assert caught.value.operator


def test_a_cancelled_batch_is_over_before_the_file_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    large = parcel("large", *[record(b'{"n":0}')] * 20_000)

    async def main() -> None:
        sink = File(path=file)
        async with sink.open() as deliver:
            task = asyncio.ensure_future(deliver(large))
            while not file.exists():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with sink.open() as deliver:
            await deliver(large)

    run(main())
    assert len(lines(file)) == 20_000
