"""The way to the far side: certificates, names, pauses that are asked for."""

from __future__ import annotations

import datetime as dt
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from itertools import pairwise

import trustme
from processes import wait_for

from faults.far_line import Line
from faults.far_sides import FarScene, far_scene
from faults.rows import fault
from faults.stage import Stage

HOST = "127.0.0.1"
NAME = "lake.test"
DAY = dt.timedelta(days=1)
CAP = 3600.0  # agent.http: longer than this no far side can make a sink wait
LATE = 62.0  # so much later than it was asked to a sink may come: not all of them at once
OWN_PAUSE = 12.0  # a 429 that does not say how long: five seconds to ten; anything else: one at most
LISTENS = 0.1  # seconds in which nothing may be said


def _shown(authority: trustme.CA, name: str, **options: dt.datetime) -> ssl.SSLContext:
    """What a server shows that has a certificate for that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)
    return context


def _certificates(stage: Stage, told: str, name: str = HOST, **options: dt.datetime) -> None:
    """A good one, that one, and a new one: the far side is started anew each time, the agent never."""
    authority, ca_file = trustme.CA(), stage.folder / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    for _ in range(stage.times):
        with far_scene(stage, way=f"https://{HOST}", more={"lake": f'ca_file = "{ca_file}"'}) as scene:
            line = scene.lines["lake"]
            line.lay(tls=_shown(authority, HOST))
            scene.send()
            scene.arrived()
            line.lay(tls=_shown(authority, name, **options))
            scene.send()
            scene.told("lake", told)
            line.lay(tls=_shown(authority, HOST))
            scene.arrived()
            scene.settle()


@fault("far-tls-expired")
def expired(stage: Stage) -> None:
    now = dt.datetime.now(dt.UTC)
    _certificates(stage, "certificate has expired", not_before=now - 30 * DAY, not_after=now - DAY)


@fault("far-tls-wrong-host")
def wrong_host(stage: Stage) -> None:
    _certificates(stage, f"certificate is not valid for '{HOST}'", name="other.example")


@fault("far-dns")
def names(stage: Stage) -> None:
    for _ in range(stage.times):
        with far_scene(stage, way=f"http://{NAME}") as scene:
            line = scene.lines["lake"]
            scene.injection.set_names({NAME: []})
            scene.send()
            scene.told("lake", f"cannot find {NAME}")
            scene.injection.set_names({NAME: ["127.0.0.1"]})
            scene.arrived()
            line.lay(host="127.0.0.2")  # where the name led, nobody is any more
            scene.send()
            scene.told("lake", f"cannot connect to {NAME}")
            scene.injection.set_names({NAME: ["127.0.0.2"]})
            scene.arrived()
            scene.injection.set_names({NAME: ["127.0.0.1", "127.0.0.2"]})  # of two addresses one is dead
            line.lay(host="127.0.0.2")
            scene.send()
            scene.arrived(skip=0)
            scene.settle()


@fault("far-retry-after")
def retry_after(stage: Stage) -> None:
    """
    What is asked is waited for, up to an hour; what makes no sense counts as if nothing had been asked.

    An hour is what an absurd value comes to, as any longer one does: it cannot be told from a wish, so it is granted as
    far as a service that recovers can bear, and one request an hour then finds it well. A restart asks at once.
    """
    for _ in range(stage.times):
        with far_scene(stage, way="http://127.0.0.1") as scene:
            line = scene.lines["lake"]
            for status in (429, 503):
                for asked in _honest():
                    _is_obeyed(scene, line, status, asked)
                for asked in ("99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"):
                    _is_capped(scene, line, status, asked)
                for asked in ("Sun, 06 Nov 1994 08:49:37 GMT", "-5", "soon", "1e9", ""):
                    _is_passed_over(scene, status, asked)
            scene.settle()


def _honest() -> Iterator[str]:
    yield "1"
    yield "120"
    yield formatdate(time.time() + 120, usegmt=True)


def _ask(scene: FarScene, status: int, asked: str) -> None:
    """One of several requests on their way is answered so, the others are taken."""
    lake = scene.sides["lake"]
    lake.fault("verbatim", status=status, retry_after=asked, count=1)
    scene.send()
    wait_for("the pause to be asked for", lake.hits)
    wait_for("what was under way to be answered", lambda: not scene.agent.status()["sinks"]["lake"]["in_flight"])
    lake.heal()


def _is_obeyed(scene: FarScene, line: Line, status: int, asked: str) -> None:
    said = len(line.heard)
    _ask(scene, status, asked)
    if asked == "1":
        scene.arrived(skip=0)
        pause = max(after - before for before, after in pairwise(line.heard[said:]))
        assert pause >= 1.0, f"{status}: asked to wait a second, and came after {pause:.2f}"
        return
    _is_silent(scene, line, 115)
    scene.pass_time(5 + LATE)
    scene.arrived(skip=0)


def _is_capped(scene: FarScene, line: Line, status: int, asked: str) -> None:
    _ask(scene, status, asked)
    _is_silent(scene, line, CAP - 10)
    scene.pass_time(10 + LATE)
    scene.arrived(skip=0)


def _is_passed_over(scene: FarScene, status: int, asked: str) -> None:
    _ask(scene, status, asked)
    scene.pass_time(OWN_PAUSE)
    scene.arrived(skip=0)


def _is_silent(scene: FarScene, line: Line, seconds: float) -> None:
    """Nothing is said by then."""
    said = len(line.heard)
    scene.pass_time(seconds)
    time.sleep(LISTENS)  # nothing is waited for: it is listened whether something comes
    assert len(line.heard) == said, f"something came before {seconds:g} s were over"
