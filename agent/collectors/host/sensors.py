"""`host.temperature` and `host.fan`: the sensors that the kernel's drivers show (hwmon), and its thermal zones."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.collectors.host.readings import ABSENT_FOR, Absent, Fields, Row, Tags
from agent.collectors.host.tree import Tree, text

HWMON = "/sys/class/hwmon"
ZONES = "/sys/class/thermal"
LIMITS = {"high": "max", "critical": "crit"}  # field -> the end of the file's name
TRIPS = {"hot": "high", "critical": "critical"}  # type of a zone's trip point -> field
MAX_TRIPS = 16
GONE = {errno.ENOENT, errno.ENODEV}


class Sensor(NamedTuple):
    """One sensor, with what is looked up once."""

    path: str  # of the file that holds its value
    tags: Tags
    limits: Fields


class Sensors:
    """
    Reads one file a sensor: names, labels and limits are looked up when sensors are looked for.

    That is done again when one has gone, and every ten minutes: drivers are loaded, and limits set.
    """

    def __init__(self, find: Callable[[], list[Sensor]], source: str, value: Callable[[bytes], Fields]) -> None:
        self._find = find
        self._source = source
        self._value = value
        self._found: list[Sensor] = []
        self._again = float("-inf")

    def read(self, tree: Tree) -> Iterator[Row]:
        now = time.monotonic()
        if now >= self._again:
            self._found, self._again = self._find(), now + ABSENT_FOR
            if not self._found:
                self._again = now
                raise Absent("no sensors")
        for sensor in self._found:
            try:
                raw = tree.read(sensor.path)
                yield Row(self._source, sensor.tags, self._value(raw) | sensor.limits)
            except (OSError, ValueError) as error:
                # A device that sleeps, or a driver with nothing to say at the moment: the others are well.
                if isinstance(error, OSError) and error.errno in GONE:
                    self._again = now


def temperature(raw: bytes) -> Fields:
    """Degrees Celsius, out of thousandths. Raises ValueError."""
    return {"current": int(raw) / 1000}


def speed(raw: bytes) -> Fields:
    """Turns a minute. Raises ValueError."""
    return {"rpm": int(raw)}


def temperatures(tree: Tree) -> Sensors:
    """The temperatures of a machine; its thermal zones where no driver shows any, as the two overlap."""
    return Sensors(lambda: hwmon(tree, "temp") or zones(tree), "host.temperature", temperature)


def fans(tree: Tree) -> Sensors:
    """The fans of a machine."""
    return Sensors(lambda: hwmon(tree, "fan"), "host.fan", speed)


def hwmon(tree: Tree, kind: str) -> list[Sensor]:
    """The sensors of a kind, `temp` or `fan`."""
    found: dict[Tags, Sensor] = {}
    for chip in _names(tree, HWMON):
        path, features = f"{HWMON}/{chip}", _features(_names(tree, f"{HWMON}/{chip}"), kind)
        if not features:  # some older kernels put the files one step down
            path = f"{path}/device"
            features = _features(_names(tree, path), kind)
        for feature in features:
            label = _text(tree, f"{path}/{feature}_label") or feature
            about = (("chip", _text(tree, f"{path}/name") or chip), *_device(tree, f"{HWMON}/{chip}/device"))
            tags: Tags = (*about, ("label", label))
            if tags in found:  # a label given twice, or another chip of that name and of no device
                tags = (*about, ("label", f"{label} {chip}/{feature}"))
            limits = {
                field: limit / 1000
                for field, end in LIMITS.items()
                if kind == "temp" and (limit := _number(tree, f"{path}/{feature}_{end}")) is not None
            }
            found[tags] = Sensor(f"{path}/{feature}_input", tags, {**limits})
    return list(found.values())


def zones(tree: Tree) -> list[Sensor]:
    """The thermal zones, each with its hot and critical trip points."""
    found = []
    for zone in _names(tree, ZONES):
        path = f"{ZONES}/{zone}"
        chip = _text(tree, f"{path}/type")
        if not zone.startswith("thermal_zone") or not chip:
            continue
        limits: Fields = {}
        for trip in range(MAX_TRIPS):
            kind = _text(tree, f"{path}/trip_point_{trip}_type")
            if not kind:
                break
            limit = _number(tree, f"{path}/trip_point_{trip}_temp")
            if kind in TRIPS and limit is not None:
                limits[TRIPS[kind]] = limit / 1000
        found.append(Sensor(f"{path}/temp", (("chip", chip), ("label", zone)), limits))
    return found


def _names(tree: Tree, path: str) -> list[str]:
    """What is in a directory, `temp2` before `temp10`."""
    try:
        names = os.listdir(tree.path(path))
    except OSError:
        return []
    return sorted(names, key=lambda name: [int(part) if part.isdecimal() else part for part in _PARTS.split(name)])


_PARTS = re.compile(r"(?<=\D)(?=\d)|(?<=\d)(?=\D)")


def _features(names: list[str], kind: str) -> list[str]:
    return [name.removesuffix("_input") for name in names if re.fullmatch(rf"{kind}\d+_input", name, re.ASCII)]


def _device(tree: Tree, link: str) -> Tags:
    """Which device the chip belongs to: two disks of a kind have chips of one name."""
    try:
        return (("device", text(os.fsencode(os.path.basename(os.readlink(tree.path(link)))))),)
    except OSError:
        return ()  # a chip of no device: the mainboard's ACPI


def _text(tree: Tree, path: str) -> str:
    return text(tree.read_if_there(path) or b"").strip()


def _number(tree: Tree, path: str) -> int | None:
    try:
        return int(tree.read_if_there(path) or b"")
    except ValueError:
        return None
