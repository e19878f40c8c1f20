"""Three clouds at one agent: keys that are refused until they are replaced, and one of three in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from e2e import clouds as e2e_clouds
from processes import wait_for

from agent.sandbox.ncloud import Key
from agent.sandbox.obsrv import Key as TokenKey
from faults.far_sides import ALL, FEW, FarScene, Name, far_scene
from faults.far_ways import REFUSES
from faults.rows import fault
from faults.stage import Stage

MAY = {"roles": ["ingestor"]}


@fault("far-wrong-key")
def wrong_key(stage: Stage) -> None:
    for _ in range(stage.times):
        ours, foreign = TokenKey.make(), TokenKey.make()
        token = {"lake": 'token_file = "@FOLDER@/token"'}
        # 401: none of the three knows who it is.
        wrong = {"token": foreign.token(MAY), "secret": "SECRET-KEY-WRONG", "api-key": "key-of-nobody"}
        with far_scene(stage, *ALL, more=token, files=wrong) as scene:
            lake, insight, notes = (scene.sides[name].process for name in ALL)
            lake.rbac(ours)
            insight.add_key(Key("LOOKS", "SECRET-KEY-LOOKS", frozenset({"query"})))
            scene.send()
            scene.told("lake", "credentials refused: the token was refused")
            scene.told("insight", "credentials refused: the keys, the signature or this clock were refused")
            scene.told("notes", "credentials refused: Identity answered 401")
            # 403: they know, and it may not.
            notes.rotate(e2e_clouds.USER, "key-of-somebody-else", enabled=False)
            looks = {"token": ours.token({"roles": ["viewer"]}), "access": "LOOKS", "secret": "SECRET-KEY-LOOKS"}
            _write(scene, {**looks, "api-key": "key-of-somebody-else"})
            scene.send()
            scene.told("lake", "credentials refused: the token has no role that may ingest")
            scene.told("insight", "credentials refused: the key has no right to this API")
            scene.told("notes", "credentials refused: Identity answered 403")
            notes.rotate(e2e_clouds.USER, "key-of-the-agent", enabled=True)
            right = {"token": ours.token(MAY), "access": e2e_clouds.ACCESS, "secret": e2e_clouds.SECRET}
            _write(scene, {**right, "api-key": "key-of-the-agent"})
            scene.arrived()
            scene.settle()


def _write(scene: FarScene, files: Mapping[str, str]) -> None:
    """What somebody does who has new keys."""
    for name, text in files.items():
        (scene.folder / name).write_text(text)


HOWS = ("dead", "hanging", "refusing")


@fault("far-one-of-three")
def one_of_three(stage: Stage) -> None:
    for _ in range(stage.times):
        with far_scene(stage, *ALL, way="http://127.0.0.1") as scene:
            for bad, how in _phases(stage):
                _in_trouble(scene, bad, how, is_quick=stage.is_quick)
            scene.settle()


def _phases(stage: Stage) -> Iterator[tuple[Name, str]]:
    """Which cloud, and how: each cloud once and each trouble once in the quick form, each with each in full."""
    if stage.is_quick:
        yield from zip(ALL, stage.rng.sample(HOWS, len(HOWS)), strict=True)
    else:
        yield from stage.rng.sample(list(product(ALL, HOWS)), len(ALL) * len(HOWS))


def _in_trouble(scene: FarScene, bad: Name, how: str, *, is_quick: bool) -> None:
    side, line = scene.sides[bad], scene.lines[bad]
    others = [name for name in ALL if name != bad]
    kind, options, _ = REFUSES[bad]
    begin: Mapping[str, Callable[[], None]] = {
        "dead": line.cut,
        "hanging": lambda: side.fault("hang", stage="send"),
        "refusing": lambda: side.fault(kind, **options),
    }
    begin[how]()
    scene.send(FEW if is_quick else 10 * FEW)
    # In real time: nothing of theirs is passed over.
    scene.arrived(*others, skip=0, timeout=5)
    if how == "hanging":
        wait_for("a request that hangs", side.hits)
        scene.pass_time(5)
    scene.told(bad, ": ")
    assert not scene.has_all(bad), f"{bad} is {how}, and has everything"
    side.heal()
    line.lay()
    scene.arrived()
