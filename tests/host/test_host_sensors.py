"""Temperatures, fans and the battery: exact on a recorded machine, found again when they move, let be when absent."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import orjson
import psutil
import pytest
from taking import OTHER, found, only, take

from agent.collectors.host import Host, battery, sensors
from agent.collectors.host.readings import Absent, Row, Seldom
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.tree import Tree

CORE = {"chip": "coretemp", "device": "coretemp.0"}


@pytest.fixture(scope="module")
def emission():
    return take(Host(host_root=str(OTHER), interval=0.05))


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(OTHER, tmp_path / "other", symlinks=True))


@pytest.fixture
def machine(copy):
    return ThroughProc(Tree(str(copy)), ())


def told(rows):
    return {"/".join(dict(row.tags).values()): row.fields for row in rows}


def test_temperatures_are_the_other_machines_each_with_the_limits_its_chip_knows(emission):
    assert [(record.tags, record.fields) for record in found(emission, "host.temperature")] == [
        (CORE | {"label": "Package id 0"}, {"current": 45.5, "high": 80.0, "critical": 100.0}),
        (CORE | {"label": "Core 0"}, {"current": 43.0, "high": 80.0, "critical": 100.0}),
        (CORE | {"label": "Core 8"}, {"current": -4.0}),
        (
            {"chip": "nvme", "device": "nvme0", "label": "Composite"},
            {"current": 38.85, "high": 81.85, "critical": 84.85},
        ),
        ({"chip": "nvme", "device": "nvme1", "label": "Composite"}, {"current": 52.85}),
        ({"chip": "nct6775", "label": "temp1"}, {"current": 31.0}),
    ]


def test_fans_are_the_other_machines(emission):
    assert [(record.tags, record.fields) for record in found(emission, "host.fan")] == [
        ({"chip": "nct6775", "label": "fan1"}, {"rpm": 1213}),
        ({"chip": "nct6775", "label": "CPU fan"}, {"rpm": 0}),
    ]


def test_the_battery_is_the_other_machines(emission):
    assert only(emission, "host.battery") == {"percent": 75.0, "seconds_left": 9000, "plugged": 0}


def test_thermal_zones_speak_where_no_driver_shows_a_temperature(copy, machine):
    for file in (copy / "sys/class/hwmon").glob("*/temp*"):
        file.unlink()
    (row,) = machine.temperatures()
    assert row.tags == (("chip", "acpitz"), ("label", "thermal_zone0"))
    assert row.fields == {"current": 27.8, "high": 110.0, "critical": 119.0}
    assert len(list(machine.fans())) == 2


def test_some_older_kernels_have_the_files_of_a_sensor_one_step_down(copy, machine):
    chip = copy / "sys/class/hwmon/hwmon3"
    (chip / "device").mkdir()
    for file in chip.glob("temp*"):
        file.rename(chip / "device" / file.name)
    (chip / "name").rename(chip / "device/name")
    assert told(machine.temperatures())["nct6775/temp1"] == {"current": 31.0}


def test_a_device_that_sleeps_costs_its_own_sensor_until_it_wakes(copy, machine):
    value = copy / "sys/class/hwmon/hwmon1/temp1_input"
    list(machine.temperatures())
    value.write_text("")
    assert len(list(machine.temperatures())) == 5
    value.write_text("39850\n")
    assert told(machine.temperatures())["nvme/nvme0/Composite"]["current"] == 39.85


def test_sensors_are_looked_for_again_when_one_has_gone(copy, machine):
    hwmon = copy / "sys/class/hwmon"
    list(machine.temperatures())
    # A driver that is loaded again gets another number.
    (hwmon / "hwmon1").rename(hwmon / "hwmon9")
    assert "nvme/nvme0/Composite" not in told(machine.temperatures())
    assert list(told(machine.temperatures()))[-1] == "nvme/nvme0/Composite"


def test_labels_and_limits_are_looked_up_once_and_one_file_is_read_a_sensor(copy, machine):
    list(machine.temperatures())
    (copy / "sys/class/hwmon/hwmon0/temp1_max").write_text("1000\n")
    assert told(machine.temperatures())["coretemp/coretemp.0/Package id 0"]["high"] == 80.0


def test_chips_of_one_name_and_labels_given_twice_are_told_apart(copy, machine):
    for number in (1, 2):
        (copy / f"sys/class/hwmon/hwmon{number}/device").unlink()
    (copy / "sys/class/hwmon/hwmon0/temp2_label").write_text("Package id 0\n")
    rows = list(machine.temperatures())
    assert len({row.tags for row in rows}) == len(rows) == 6
    assert {"nvme/Composite", "nvme/Composite hwmon2/temp1"} <= told(rows).keys()


def test_a_machine_without_any_is_reported_without_them_and_not_asked_each_time(copy):
    shutil.rmtree(copy / "sys")
    asked: list[str] = []
    watching = True

    def watch(event, arguments):
        if watching and event in {"open", "os.listdir"} and "/sys/class/" in str(arguments[0]):
            asked.append(str(arguments[0]))

    host = Host(host_root=str(copy), groups=("temperature", "fan", "battery"))
    readings = host.readings()
    sys.addaudithook(watch)  # cannot be taken away again: it is switched off
    for reading in readings:
        with pytest.raises(Absent):
            list(reading.read())
    first = len(asked)
    for reading in readings * 5:
        assert list(reading.read()) == []
    watching = False
    assert (first, len(asked)) == (4, 4)  # chips twice, zones, power supplies


def test_what_was_absent_is_asked_for_again_after_a_while():
    answers = [[], [Row("host.fan", (), {"rpm": 1})]]

    def read():
        answer = answers.pop(0)
        if not answer:
            raise Absent("none")
        return answer

    seldom = Seldom(read, pause=0.05)
    with pytest.raises(Absent):
        seldom.read()
    until = time.monotonic() + 5
    while not (rows := list(seldom.read())):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert rows[0].fields == {"rpm": 1}


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ({"AC/online": "1", "BAT0/status": "Full"}, {"percent": 75.0, "plugged": 1}),  # it does not run out
        ({"AC/online": None, "BAT0/status": "Charging"}, {"percent": 75.0, "plugged": 1}),
        (
            {"AC/online": None, "BAT0/status": "Not charging"},
            {"percent": 75.0, "seconds_left": 9000},  # who knows
        ),
        ({"BAT0/power_now": "0"}, {"percent": 75.0, "plugged": 0}),
        ({"BAT0/power_now": "-12000000"}, {"percent": 75.0, "seconds_left": 9000, "plugged": 0}),
        (
            {"BAT0/energy_now": None, "BAT0/time_to_empty_now": "600"},
            {"percent": 74.0, "seconds_left": 600, "plugged": 0},
        ),
        ({"BAT0/energy_full": "0"}, {"percent": 0.0, "seconds_left": 9000, "plugged": 0}),
    ],
)
def test_a_battery_says_what_it_knows(copy, machine, files, fields):
    for name, text in files.items():
        file = copy / "sys/class/power_supply" / name
        file.unlink(missing_ok=True) if text is None else file.write_text(f"{text}\n")
    assert machine.battery() == fields


@pytest.mark.parametrize("gone", ["BAT0", "BAT0/capacity"])
def test_a_machine_on_mains_or_a_battery_that_says_nothing_is_no_battery(copy, machine, gone):
    for name in ("energy_now", "energy_full"):
        (copy / "sys/class/power_supply/BAT0" / name).unlink()
    path = copy / "sys/class/power_supply" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(Absent):
        machine.battery()


PROGRAM = """
import sys
import orjson
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.tree import Tree

def said(machine):
    rows = [[row.source, dict(row.tags), row.fields] for row in (*machine.temperatures(), *machine.fans())]
    return [*rows, machine.battery()]

print(orjson.dumps([said(ThroughPsutil()), said(ThroughProc(Tree(), ()))]).decode())
"""


def test_psutil_says_the_same_of_the_recorded_machine():
    """It knows no other /sys, so it is shown the recorded one at that place, in mounts of its own."""
    mounting = f'mount --rbind {OTHER}/sys /sys && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounting, sys.executable, PROGRAM]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"no mounts of its own here: {refused}")
    theirs, ours = orjson.loads(done.stdout)
    assert theirs[-1] == ours[-1] == {"percent": 75.0, "seconds_left": 9000, "plugged": 0}

    def values(rows):
        return sorted((source, tags["chip"], sorted(fields.items())) for source, tags, fields in rows[:-1])

    assert values(theirs) == values(ours)
    labels = {(tags["chip"], tags["label"]) for _, tags, _ in theirs[:-1]}
    assert {("coretemp", "Package id 0"), ("nvme", "Composite"), ("nct6775", "CPU fan")} <= labels


class Chip(NamedTuple):
    """As psutil has it."""

    label: str
    current: float
    high: float | None
    critical: float | None


class Battery(NamedTuple):
    """As psutil has it."""

    percent: float
    secsleft: int
    power_plugged: bool | None


def test_what_psutil_knows_of_other_systems_gets_the_same_fields(monkeypatch):
    monkeypatch.setattr(
        psutil, "sensors_temperatures", lambda: {"cpu": [Chip("", 40.0, None, 90.0), Chip("b", 1.5, 2.0, None)]}
    )
    monkeypatch.setattr(psutil, "sensors_battery", lambda: Battery(50, psutil.POWER_TIME_UNLIMITED, power_plugged=True))
    machine = ThroughPsutil()
    assert told(machine.temperatures()) == {
        "cpu/1": {"current": 40.0, "critical": 90.0},
        "cpu/b": {"current": 1.5, "high": 2.0},
    }
    assert machine.battery() == {"percent": 50.0, "plugged": 1}
    # As on macOS.
    monkeypatch.delattr(psutil, "sensors_temperatures")
    monkeypatch.delattr(psutil, "sensors_battery")
    for ask in (lambda: list(machine.temperatures()), machine.battery):
        with pytest.raises(Absent):
            ask()


def test_the_sensors_of_this_machine_are_plausible_if_it_has_any():
    emission = take(Host(interval=0.2, groups=("load", "temperature", "fan", "battery")))
    for record in found(emission, "host.temperature"):
        assert -60 < record.fields["current"] < 150
        assert record.tags["chip"]
    for record in found(emission, "host.fan"):
        assert 0 <= record.fields["rpm"] < 100_000
    for record in found(emission, "host.battery"):
        assert 0 <= record.fields["percent"] <= 110
    here = Path("/sys/class/hwmon")
    expected = len(list(here.glob("hwmon*/temp*_input"))) if os.path.isdir(here) else 0
    assert len(found(emission, "host.temperature")) <= max(expected, len(list(Path("/sys/class/thermal").glob("*"))))


def test_a_value_that_is_no_number_is_refused():
    for parse in (sensors.temperature, sensors.speed):
        with pytest.raises(ValueError, match="invalid literal"):
            parse(b"n/a\n")
    assert battery.is_plugged(None, "unknown") is None
