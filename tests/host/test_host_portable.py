"""What a machine without /proc reports, through psutil: here on Linux, beside what /proc gives."""

import asyncio

import orjson
import pytest

from agent.collectors.host.collector import Host
from agent.collectors.host.filters import Filter
from agent.collectors.host.portable import portable_readings, usage
from agent.collectors.host.sampling import Sampler

ALL = Filter.of((), ())


def rows(readings, ticks=1):
    async def main():
        sampler = Sampler(readings, 10)
        for _ in range(ticks):
            sample = await sampler.sample()
        assert sample.failures == {}
        return sample.rows

    return asyncio.run(main())


@pytest.fixture(scope="module")
def portable():
    filters = {"mounts": ALL, "fstypes": ALL, "interfaces": ALL, "devices": ALL}
    return rows(portable_readings(Host().groups, per_cpu=False, **filters), ticks=2)


def test_it_gives_the_same_groups_but_pressure_and_control_groups(portable):
    sources = {source for source, _, _ in portable}
    assert {"host.load", "host.mem", "host.swap", "host.net", "host.system", "host.processes"} <= sources
    assert not {"host.pressure", "host.cgroup"} & sources


def test_its_fields_have_the_names_that_proc_gives_them(portable):
    native: dict[str, set[str]] = {
        # What this machine may have no record of, or no card with.
        "host.system": {"n_users", "n_unique_users", "n_physical_cpus"},
        "host.net": {"speed"},
    }
    for source, _, fields in rows(Host(interfaces=("*",), devices=("*",)).readings(), ticks=2):
        native.setdefault(source, set()).update(orjson.loads(fields))
    for source, _, fields in portable:
        if source in {"host.load", "host.mem", "host.swap", "host.diskio", "host.net", "host.system", "host.processes"}:
            assert set(orjson.loads(fields)) <= native[source], source


def test_its_cpu_shares_are_of_the_time_between_two_readings():
    before = {"user": 10.0, "system": 5.0, "idle": 80.0, "nice": 0.0}
    now = {"user": 11.0, "system": 5.5, "idle": 82.5, "nice": 0.0}
    fields = usage(before, now)
    assert (fields["usage_user"], fields["usage_idle"], fields["usage_active"]) == (25.0, 62.5, 37.5)
    assert fields["time_idle"] == 82.5
    assert usage(now, before) == {}
    assert usage(now, now) == {}
