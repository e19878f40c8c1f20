"""Which stored messages the broker may send again, as a restart finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

from spooling import LAKE, opened, part, records, run

from agent.spool import Reader

BOTH = (LAKE, Reader("notes", "few"))


def sent(*packets: int, lane: str = "all", origin: str = "plant", salt: int = 0) -> object:
    return part(
        records(len(packets)),
        lane=lane,
        origin=origin,
        packets=packets,
        hashes=[packet * 10 + salt for packet in packets],
    )


def test_what_was_stored_and_never_confirmed_is_found_by_origin(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            assert spool.unacked("plant") == {}
            await spool.append([sent(1, 2, 0, 3), sent(7, origin="barn")])
            await spool.append([part(records(5), origin="host")])
        async with opened(state) as spool:
            assert spool.unacked("plant") == {1: 10, 2: 20, 3: 30}
            assert spool.unacked("barn") == {7: 70}
            assert spool.unacked("host") == {}

    run(main)


def test_what_is_confirmed_is_forgotten_and_what_came_later_is_not(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([sent(1, 2)])
            await spool.append([sent(1, 2, origin="barn")])
            moment = spool.checkpoint("plant")
            await spool.append([sent(3)])
            spool.confirm("plant", moment)
        for _ in range(2):
            async with opened(state) as spool:
                assert spool.unacked("plant") == {3: 30}
                assert spool.unacked("barn") == {1: 10, 2: 20}
        async with opened(state) as spool:
            spool.confirm("plant", spool.checkpoint("plant"))
            assert spool.unacked("plant") == {}
        async with opened(state) as spool:
            assert spool.unacked("plant") == {}
            assert spool.unacked("barn") == {1: 10, 2: 20}

    run(main)


def test_an_old_confirmation_outlives_the_restart_of_one_who_never_confirms(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([sent(9, origin="silent")])
            await spool.append([sent(1)])
            spool.confirm("plant", spool.checkpoint("plant"))
        for _ in range(3):
            async with opened(state) as spool:
                assert spool.unacked("plant") == {}
                assert spool.unacked("silent") == {9: 90}

    run(main)


def test_the_last_use_of_a_packet_id_counts_whatever_lane_it_is_in(state: Path) -> None:
    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            await spool.append([sent(5, 6, lane="few", salt=1)])
            await spool.append([sent(5, lane="all", salt=2)])
            await spool.append([sent(6, lane="all", salt=3)])
            await spool.append([sent(6, lane="few", salt=4)])
        async with opened(state, *BOTH) as spool:
            assert spool.unacked("plant") == {5: 52, 6: 64}

    run(main)


def test_only_the_crash_before_counts_not_this_run(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([sent(1)])
            assert spool.unacked("plant") == {}

    run(main)


def test_a_message_stored_in_part_is_not_taken_for_stored(state: Path) -> None:
    """It went to two lanes and the power went between the two commits: the redelivery has to be stored."""

    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            await spool.append([sent(1, 2, lane="all"), sent(2, lane="few")])
        copy = state.with_name("copy")
        shutil.copytree(state, copy)
        async with opened(copy, *BOTH) as spool:
            assert spool.unacked("plant") == {1: 10, 2: 20}
        # "all" is committed before "few".
        shutil.rmtree(state / "lanes" / "few")
        async with opened(state, *BOTH) as spool:
            assert spool.unacked("plant") == {1: 10}

    run(main)


def test_claims_behind_a_tear_in_their_commit_are_not_believed(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([sent(1)])
            # One message of many records: two frames, and its packet stands with the last of them.
            many = records(800, size=150)
            await spool.append([part(many, packets=[2] * 800, hashes=[20] * 800)])
            await spool.append([sent(3)])
        (path,) = (state / "lanes" / "all").glob("*.seg")
        data = bytearray(path.read_bytes())
        torn = state.with_name("torn")
        shutil.copytree(state, torn)
        data[3000] ^= 1  # in the first of the two frames
        (torn / "lanes" / "all" / path.name).write_bytes(data)
        async with opened(state) as spool:
            assert spool.unacked("plant") == {1: 10, 2: 20, 3: 30}
        async with opened(torn) as spool:
            assert spool.unacked("plant") == {1: 10, 3: 30}

    run(main)
