"""What far sides do to requests: refuse them, leave them unanswered, answer by half, lie."""

from __future__ import annotations

import json
from collections.abc import Mapping

from e2e import scene as e2e
from processes import wait_for

from faults.far_sides import ALL, Name, far_scene
from faults.rows import fault
from faults.stage import Stage

REFUSAL = "#required must have required property 'mid'"
TRIES = 60  # of eight batches at most: each of them more often than a limit of a few would allow
POISON = b'"poison":true'
PAGE = "<html><body><h1>Welcome to the guest network</h1></body></html>"
CUT = '{"id":"api.data.in","ver":"v2","params":{"status":"SUCC'
FAILURE = '{"error":{"code":"INTERNAL_SERVER_ERROR","message":"it did not work"}}'

# 200 and this, though nothing was stored; and what the agent says of it. Blueflood's own 200 is empty.
LIES: Mapping[Name, Mapping[str, str]] = {
    "lake": dict.fromkeys(("", PAGE, CUT, FAILURE, "[]", "null", '"OK"', '{"message":"Welcome"}'), "not Obsrv's"),
    "insight": {
        **dict.fromkeys((PAGE, CUT, FAILURE, "[]", "{}", '{"message":"Welcome"}'), "without a result"),
        "": "with nothing",
        '{"result":"fail","dataId":-1,"message":"no"}': "the result is",
    },
    "notes": dict.fromkeys((PAGE, CUT, '{"errors":[{"message":"it did not work"}]}'), "not Blueflood's"),
}

# 400 to everything. NAVER's gateway does not say whether it means the content.
REFUSES: Mapping[Name, tuple[str, Mapping[str, str], str]] = {
    "lake": ("refuse", {}, "refusing: "),
    "insight": ("gateway", {"code": "100"}, "down: "),
    "notes": ("refuse", {}, "refusing: "),
}


def _names(stage: Stage) -> tuple[Name, ...]:
    """Obsrv in the quick form, all three clouds in full."""
    return ("lake",) if stage.is_quick else ALL


@fault("far-503")
def unavailable(stage: Stage) -> None:
    seconds, rate = (2.0 if stage.is_quick else 60.0), 500
    with far_scene(stage, agent="", defaults=True) as scene:
        lake = scene.sides["lake"]
        lake.fault("unavailable")
        scene.send(round(rate * seconds), rate=rate, payload=e2e.state_payload)
        scene.told("lake", "down: answered 503")
        if not stage.is_quick:
            lake.heal()
            scene.arrived(skip=0, timeout=180)
            lake.fault("unavailable")
            scene.send(rate)
        # And so long that every batch is tried again and again.
        wait_for(f"{TRIES} tries", lambda: lake.hits() >= TRIES or scene.skip(60))
        lake.heal()
        scene.arrived()
        scene.settle()


@fault("far-poison")
def poison(stage: Stage) -> None:
    count, bad_ones = (2000, 5) if stage.is_quick else (20_000, 20)
    bad = set(stage.rng.sample(range(count - 1000), bad_ones))

    def payload(number: int) -> bytes:
        plain = e2e.state_payload(number)
        return plain.replace(b'"ok":true', POISON) if number in bad else plain

    with far_scene(stage, defaults=True) as scene:
        scene.sides["lake"].fault("refuse_containing", text=POISON.decode(), message=REFUSAL)
        scene.send(count, rate=2000, payload=payload)
        scene.settle()
        letters = e2e.dead_letters(scene.agent)
        assert sorted(json.loads(each["payload"])["fields"]["uid"] for each in letters) == sorted(map(e2e.uid, bad))
        assert {each["status"] for each in letters} == {400}
        assert all(REFUSAL in each["answer"] for each in letters), letters
        missing = set(map(e2e.uid, range(count))) - set(scene.sides["lake"].stored().ids)
        assert missing == set(map(e2e.uid, bad))


@fault("far-refuses-all")
def refuses_all(stage: Stage) -> None:
    for _ in range(stage.times):
        # Patient, as the clock runs fast: what is taken after its time is up and then refused is refused for good.
        with far_scene(stage, *_names(stage), timeout="200s") as scene:
            for name, side in scene.sides.items():
                kind, options, told = REFUSES[name]
                side.fault(kind, **options)
                scene.send(100)
                scene.told(name, told)
                scene.send(100)
                side.heal()
                scene.arrived()
                # And so short that it cannot have been understood: which record it hit says nothing about that record.
                for hits in range(1, 12):
                    side.fault(kind, count=hits, **options)
                    scene.send()
                    scene.arrived()
                    side.heal()
            scene.settle()


@fault("far-slow")
def slow(stage: Stage) -> None:
    for _ in range(stage.times):
        with far_scene(stage, *_names(stage), timeout="1s") as scene:
            for name, side in scene.sides.items():
                side.fault("slow", seconds=1.2, count=4)
                side.fault("slow", seconds=0.3)
                scene.send()
                scene.told(name, "no answer within 1 s")
                scene.arrived(name)
                side.heal()
            scene.settle()


@fault("far-hangs")
def hangs(stage: Stage) -> None:
    _at_each(stage, "hang", "no answer within 5 s", "arrival", "send", "stored")


@fault("far-half-answer")
def half_answers(stage: Stage) -> None:
    # Half of Blueflood's empty 200 is all of it.
    _at_each(stage, "half_answer", "the connection broke before the answer ended", "send", "stored", without="notes")


@fault("far-resets")
def resets(stage: Stage) -> None:
    _at_each(stage, "reset", "the connection", "arrival", "read", "stored")


def _at_each(stage: Stage, fault: str, told: str, *stages: str, without: str = "") -> None:
    """It is done to every request for a while: before the body is read, after it, after it is stored."""
    for _ in range(stage.times):
        with far_scene(stage, *(name for name in _names(stage) if name != without)) as scene:
            for at in stages:
                for name in scene.sides:
                    scene.endure(name, fault, told, stage=at)
            scene.settle()


@fault("far-lies")
def lies(stage: Stage) -> None:
    for _ in range(stage.times):
        with far_scene(stage, *_names(stage)) as scene:
            for name in scene.sides:
                for body, told in LIES[name].items():
                    try:
                        scene.endure(name, "verbatim", told, status=200, body=body)
                    except AssertionError as error:
                        raise AssertionError(f"200 and {body!r}: {error}") from error
            scene.settle()


@fault("far-500-stored")
def stored_and_500(stage: Stage) -> None:
    for _ in range(stage.times):
        with far_scene(stage) as scene:
            scene.sides["lake"].fault("error", stored=True)
            scene.send(500 if stage.is_quick else 5000)
            scene.told("lake", "Obsrv failed (500")
            scene.sides["lake"].heal()
            scene.arrived()
            scene.settle()
            stored = scene.sides["lake"].stored()
            assert stored.again, "no batch came again"
            assert set(stored.ids.values()) == {1}, "what came again was stored again"
