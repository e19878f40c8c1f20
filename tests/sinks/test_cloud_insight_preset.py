"""`preset = "host"` over what the host collector really reads, under either naming."""

from __future__ import annotations

import json
from array import array
from typing import Any, Literal

import pytest
from far_side import run

from agent.collectors.host.collector import Host
from agent.collectors.host.sampling import Sampler
from agent.record import Run, middle
from agent.sandbox.ncloud import Schema as FarSchema
from agent.sandbox.ncloud.rows import sort
from agent.schema import Secret
from agent.sinks.cloud_insight import CloudInsight, preset
from agent.sinks.cloud_insight.fields import fields_of
from agent.sinks.cloud_insight.requests import content

KEY = "460438474722512896"
MINUTE = 1_700_000_040_000
SINK = CloudInsight(access_key=Secret("a"), secret_key=Secret("b"), preset="host", cw_key=KEY)


def run_of(records: list[bytes]) -> Run:
    return Run(1, 0, b",".join(records), array("I", map(len, records)), MINUTE + 100, MINUTE + 59_000)


def record(second: float, source: str, fields: dict[str, Any] | bytes, **tags: str) -> bytes:
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return b'{"ts":%d%b%b}' % (MINUTE + second * 1000, middle(source, {"host": "web", **tags}), text)


def rows(records: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(row) for request in content(SINK.encode(run_of(records))).requests for row in request.rows]


def far_schema() -> FarSchema:
    fields = [field.row() for field in fields_of(preset.host(KEY))]
    return FarSchema.of({"cw_key": KEY, "prodName": "Custom/Host", "fields": fields})


@pytest.mark.parametrize("naming", ["telegraf", "ncloud"])
def test_this_machine_is_one_row_a_minute_that_fits_the_schema(naming: Literal["telegraf", "ncloud"]) -> None:
    async def main() -> None:
        sampler = Sampler(Host(naming=naming).readings(), 3.0)
        records: list[bytes] = []
        row: dict[str, Any] = {}
        # Of the CPU there is something to say once a tick of the kernel has passed.
        while "avg_cpu_used_rto" not in row:
            sample = await sampler.sample()
            second = 10 * (len(records) > 0)
            records += [record(second, source, payload, **dict(tags)) for source, tags, payload in sample.rows]
            (row,) = rows(records)
        known = {measure.name for measure in preset.host(KEY).measures}
        # No machine has all of it: a container may have neither a disk of its own nor a swap.
        assert known & row.keys() >= {
            "avg_cpu_used_rto", "load_average_1m", "mem_usert", "used_mem_mb", "max_fs_usert", "proc_cnt", "uptime",
            "rcv_bps", "snd_bps",
        }  # fmt: skip
        assert row["host"] == "web"
        assert row.keys() <= {"host", *known}
        assert sort(far_schema(), row).dropped == {}
        assert 0 <= row["mem_usert"] <= 100
        assert 16 < row["used_mem_mb"] <= row["mem_mb"] < 1 << 24

    run(main())


def test_instances_become_one_value() -> None:
    records = []
    for n in range(6):
        at = n * 10
        records += [
            record(at, "host.cpu", {"usage_active": 10 + n}, cpu="cpu-total"),
            record(at, "host.cpu", {"usage_active": 99}, cpu="cpu0"),
            record(at, "host.disk", {"used_percent": 40, "total": 1 << 30, "used": 1 << 29}, path="/"),
            record(at, "host.disk", {"used_percent": 91, "total": 1 << 20, "used": 1 << 19}, path="/data"),
            # Counted up by 1000 and 500 bytes a tick; the second was reset in between.
            record(at, "host.net", {"bytes_recv": 10**12 + 1000 * n}, interface="eth0"),
            record(at, "host.net", {"bytes_recv": 500 * (n % 3) + 500}, interface="eth1"),
            record(at, "host.diskio", {"read_bytes": 4096 * n, "io_util": 5}, name="nvme0n1"),
            record(at, "host.diskio", {"read_bytes": 4096 * n, "io_util": 7}, name="nvme0n1p1"),
            record(at, "host.processes", {"total": 100 + n}),
            record(at, "host.system", {"uptime": 5000 + at}),
        ]
    assert rows(records) == [
        {
            "host": "web",
            "avg_cpu_used_rto": 12.5,
            "max_fs_usert": 91.0,
            "fs_all_mb": 1025.0,
            "fs_used_mb": 512.5,
            "rcv_bps": 8 * 100.0 + 8 * 50.0,
            "read_byt_cnt": 409.6,
            "max_disk_used_rto": 7.0,
            "proc_cnt": 102,
            "uptime": 5050,
        }
    ]


def test_both_namings_give_the_same_row() -> None:
    ticks = range(0, 60, 10)
    telegraf = [
        each
        for at in ticks
        for each in (
            record(at, "host.cpu", {"usage_active": 25, "usage_iowait": 1}, cpu="cpu-total"),
            record(at, "host.mem", {"total": 8 << 30, "used": 2 << 30, "used_percent": 25.0}),
            record(at, "host.net", {"bytes_sent": 125 * at, "err_in": at}, interface="eth0"),
            record(at, "host.diskio", {"write_bytes": 10 * at}, name="sda"),
            record(at, "host.disk", {"used_percent": 50.0}, path="/"),
            record(at, "host.system", {"uptime": MINUTE // 1000 + at - 1_600_000_000, "n_users": 2}),
        )
    ]
    ncloud = [
        each
        for at in ticks
        for each in (
            record(at, "host.cpu", {"avg_cpu_used_rto": 25, "avg_io_wait_rto": 1}, schema_type="svr"),
            record(at, "host.mem", {"mem_mb": 8192, "used_mem_mb": 2048, "mem_usert": 25.0}),
            record(at, "host.net", {"snd_bps": 1000, "rcv_fail_packt_cnt": 60}, nic_desc="eth0"),
            record(at, "host.net", {"avg_snd_bps": 1000, "max_snd_bps": 1000}, schema_type="svr"),
            record(at, "host.diskio", {"write_byt_cnt": 10}, disk_idx="sda"),
            record(at, "host.disk", {"fs_usert": 50.0}, mnt_nm="/"),
            record(at, "host.disk", {"max_fs_usert": 50.0}, schema_type="svr"),
            record(at, "host.system", {"boot_time": 1_600_000_000, "login_cnt": 2}),
        )
    ]
    (row,) = rows(telegraf)
    assert rows(ncloud) == [row]
    assert (row["snd_bps"], row["rcv_fail_packt_cnt"], row["uptime"]) == (
        1000.0,
        60.0,
        MINUTE // 1000 + 50 - 1_600_000_000,
    )


def left(made: CloudInsight, records: list[bytes]) -> dict[str, dict[str, int]]:
    return {kind: dict(counts) for kind, counts in content(made.encode(run_of(records))).left.items() if counts}


def test_what_it_leaves_of_what_it_selects_is_no_news_unless_it_finds_nothing_at_all() -> None:
    others = [
        record(1, "host.cpu", {"usage_active": 1}, cpu="cpu0"),
        record(1, "host.cpu", {"time_user": 1}, cpu="cpu-total"),
        record(1, "host.fan", {"rpm": 1}),
    ]
    used = record(1, "host.load", {"load1": 1})
    foreign = record(1, "mqtt.plant", {"v": 1})
    assert left(SINK, [*others, used]) == {}
    assert left(SINK, [*others, used, foreign]) == {"unused": {"mqtt.plant": 1}}
    assert left(SINK, others) == {"unused": {"host.cpu": 2, "host.fan": 1}}


def test_its_schema_is_one_that_can_be_created() -> None:
    schema = far_schema()
    assert schema.identity == ("host",)
    assert len(schema.fields) == len(preset.host(KEY).measures) + 1
    assert all(field.desc for field in schema.fields if field.metric)
    found = schema.find("avg_cpu_used_rto")
    assert found is not None
    assert set(found.aggregations["Min1"]) >= {"AVG", "MAX"}
