"""Everything at once: a far side that fails in every way it can, restarts, bad records; nothing is lost."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from farside import Post, Reply, Request, far_side
from rig import rig
from virtual import later, run, until

from agent.ports import Limits


@pytest.mark.parametrize("seed", range(6))
def test_every_record_is_stored_or_dead_whatever_the_far_side_does(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    total = 3000
    bad = set(rng.sample(range(total), 25)) | set(range(900, 905))
    calm = False

    def script(request: Request) -> Reply:
        if not calm and rng.random() < 0.4:
            return rng.choice(
                [
                    Reply(503),
                    Reply(429, headers={"Retry-After": "3"}),
                    Reply(401),
                    Reply(404),
                    Reply(then="reset", stores=rng.random() < 0.5 and not bad & set(request.numbers)),
                    Reply(then="hang", stores=False),
                    Reply(500, stores=not bad & set(request.numbers)),
                    Reply(413) if len(request.numbers) > 20 else Reply(503),
                ]
            )
        return Reply(400, "bad") if bad & set(request.numbers) else Reply()

    async def main() -> None:
        nonlocal calm
        sent = 0
        async with far_side(script) as far:
            for restart in range(4):
                calm = restart == 3
                async with rig(tmp_path) as it:
                    delivery = it.delivery(Post(far.port, Limits(records=200, in_flight=rng.choice([1, 4]))), seed=seed)
                    async with it.running(delivery):
                        while sent < total * (restart + 1) // 4:
                            count = rng.randint(1, 150)
                            await it.put(range(sent, min(total, sent + count)))
                            sent = min(total, sent + count)
                            await later(rng.random())
                        if not calm:
                            await later(rng.uniform(0, 30))
                            continue
                        # What is accused last is convicted by what comes after it.
                        for n in range(total, total + 200):
                            await it.put([n])
                            await later(1)
                            if it.spool.cursors("lake")[0].position >= total:
                                break
                        cursor = it.spool.cursors("lake")[0]
                        await until(lambda cursor=cursor: cursor.position == cursor.lane.head, within=1200, step=1)
                        await until(lambda: {numbered(one) for one in it.letters()} == bad)
                    assert cursor.ledger.dead == len(bad)
                    assert cursor.ledger.renamed == 0
            assert set(far.stored) & bad == set()
            assert set(far.stored) >= set(range(total)) - bad
            # After deduplication by id there is one copy of each record that was split away before it
            # was stored; `FarSide` has checked that no id came with two contents.

    def numbered(letter: dict[str, str]) -> int:
        return int(letter["payload"].split('"n":')[1].split(",")[0])

    run(main())
