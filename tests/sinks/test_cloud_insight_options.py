"""The options: the short case works, every mistake is told with its place, and what it will cost."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agent.cli.check import summary
from agent.config import Config, load, resolved
from agent.errors import ConfigError
from agent.schema import options_of
from agent.sinks.cloud_insight import CloudInsight, preset
from agent.sinks.cloud_insight.schema import Metric, Schema

DOCS = Path(__file__).parents[2] / "docs" / "cloud-insight.md"
HEAD = """
[collectors.host]
type = "host"
[sinks.insight]
type = "cloud_insight"
access_key = "AK-canary"
secret_key = "SK-canary"
"""
PRESET = HEAD + 'preset = "host"\ncw_key = "460438474722512896"\n'
SCHEMA = """
[[sinks.insight.schema]]
cw_key = "460438474722512897"
metrics = { mem = "host.mem.used_percent" }
"""


def read(text: str, folder: Path) -> Config:
    (folder / "agent.toml").write_text(textwrap.dedent(text))
    return load([folder / "agent.toml"], {})


def sink(text: str, folder: Path) -> CloudInsight:
    plugin = read(text, folder).sinks["insight"].plugin
    assert isinstance(plugin, CloudInsight)
    return plugin


def test_the_preset_needs_keys_and_a_cw_key_alone(tmp_path: Path) -> None:
    made = sink(PRESET, tmp_path)
    assert made.base({"public": "https://here"}) == "https://here"
    limits = made.limits
    assert (limits.window, limits.max_age, limits.in_flight) == (60.0, 300.0, 1)
    assert [table.schema.key for table in made.tables] == ["460438474722512896"]


def test_a_schema_needs_a_key_and_metrics_alone(tmp_path: Path) -> None:
    (table,) = sink(HEAD + SCHEMA, tmp_path).tables
    assert (table.schema.identity, table.schema.dimensions) == ("host", {"host": "host"})
    assert [measure.name for measure in table.measures] == ["mem"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + 'preset = "host"\ncw_key_file = "fleet.cw_key"\n',
        HEAD + SCHEMA.replace('cw_key = "460438474722512897"', 'cw_key_file = "fleet.cw_key"'),
    ],
)
def test_a_key_may_be_in_a_file_that_is_not_there_yet(text: str, tmp_path: Path) -> None:
    (warning,) = (str(each) for each in read(text, tmp_path).warnings if "cw_key" in str(each))
    assert "fleet.cw_key is not there yet, and rows wait for it" in warning
    assert "cloud-insight schema create" in warning
    (tmp_path / "fleet.cw_key").write_text("460438474722512897\n")
    assert not any("cw_key" in str(each) for each in read(text, tmp_path).warnings)


def test_metrics_may_be_tables_beside_plain_names(tmp_path: Path) -> None:
    text = """
    [[sinks.insight.schema]]
    cw_key = "460438474722512897"
    dimensions = { host = "host", zone = { text = "seoul" } }
    [sinks.insight.schema.metrics]
    mem = "used_percent"
    cpu = { field = "usage_active", source = "host.cpu", where = { cpu = "cpu-total" }, rollup = "max", type = "FLOAT" }
    """
    (schema,) = sink(HEAD + textwrap.dedent(text), tmp_path).schema
    assert schema.metrics == {
        "mem": "used_percent",
        "cpu": Metric(
            field="usage_active", source=("host.cpu",), where={"cpu": ("cpu-total",)}, rollup="max", type="FLOAT"
        ),
    }


def metric(text: str, beside: str = "") -> str:
    """A schema with a metric written so."""
    return HEAD + beside + SCHEMA.replace('"host.mem.used_percent"', text)


NUMBER = SCHEMA.replace('"460438474722512897"', "460438474722512897")
MISTAKES = [
    (HEAD, r"sinks.insight.schema: nothing would be sent: expected preset"),
    (HEAD + 'preset = "host"', r"sinks.insight.cw_key: required with preset"),
    (HEAD + 'cw_key = "1"' + SCHEMA, r"sinks.insight.cw_key: has no effect without preset"),
    (PRESET + 'cw_key_file = "k"', r":10 sinks.insight.cw_key_file: give cw_key or cw_key_file, not both"),
    (HEAD + 'cw_key_file = "k"' + SCHEMA, r"sinks.insight.cw_key_file: has no effect without preset"),
    (HEAD + 'schema_name = "Custom/X"' + SCHEMA, r"sinks.insight.schema_name: has no effect without preset"),
    (HEAD + SCHEMA + 'cw_key_file = "k"', r":12 sinks.insight.schema\[0\].cw_key_file: give cw_key or cw_key_file"),
    (HEAD + re.sub("cw_key.*", "", SCHEMA), r"sinks.insight.schema\[0\].cw_key: required, but missing: .*cw_key_file"),
    (HEAD + re.sub("cw_key.*", 'cw_key_file = "a\\\\b"', SCHEMA), r"schema\[0\].cw_key_file: .* without quotes"),
    (
        HEAD + re.sub("cw_key.*", 'cw_key_file = "agent.toml"', SCHEMA),
        r"cw_key_file: .*: expected the digits",
    ),
    (HEAD + re.sub("cw_key.*", 'cw_key_file = "."', SCHEMA), r"cw_key_file: .* cannot be read: Is a directory"),
    (HEAD + 2 * re.sub("cw_key.*", 'cw_key_file = "k"', SCHEMA), r"schema\[1\].cw_key_file: is that of schema\[0\]"),
    (HEAD + 'preset = "host"\ncw_key = 460438474722512896', r":9 sinks.insight.cw_key: .*in quotes.*found a number"),
    (HEAD + 'preset = "host"\ncw_key = "46O"', r":9 sinks.insight.cw_key: .*digits alone"),
    (PRESET + 'rollup = "0s"', r":10 sinks.insight.rollup: the preset needs one"),
    (PRESET + 'rollup = "2h"', r":10 sinks.insight.rollup: expected at most 1h"),
    (PRESET + 'zone = "private"', r':10 sinks.insight.zone: expected one of "public", "gov", "fin"'),
    (PRESET + 'region_no = "SNG"', r":10 sinks.insight.region_no: .*SGN.*, found \"SNG\""),
    (PRESET + 'url = "http://cw.example.net"', r":10 sinks.insight.url: plain http"),
    (PRESET.replace('secret_key = "SK-canary"', ""), r"sinks.insight.secret_key: required"),
    (PRESET.replace("SK-canary", ""), r":7 sinks.insight.secret_key: is empty"),
    (PRESET.replace("AK-canary", "${NO_SUCH_KEY:-}"), r":6 sinks.insight.access_key: is empty"),
    (
        HEAD + SCHEMA + 'dimensions = { d = "tags.device" }',
        r"dimensions.d: a tag is named without.*expected \"device\"",
    ),
    (HEAD + NUMBER, r":10 sinks.insight.schema\[0\].cw_key: .*in quotes"),
    (HEAD + SCHEMA + 'id_dimension = "x"', r"schema\[0\].id_dimension: .* one of the dimensions: host, found \"x\""),
    (HEAD + SCHEMA + 'dimensions = { mbrNo = "x" }', r"schema\[0\].dimensions.mbrNo: mbrNo is reserved"),
    (HEAD + SCHEMA + "dimensions = {}", r"schema\[0\].dimensions: expected at least one"),
    (HEAD + SCHEMA + 'dimensions = { mem = "mem" }', r"schema\[0\].metrics.mem: is the name of a dimension"),
    (HEAD + SCHEMA + 'dimensions = { host = { txt = "x" } }', r"schema\[0\].dimensions.host.*did you mean text"),
    (metric('{ fild = "x" }'), r"schema\[0\].metrics.mem.fild: no such option; did you mean field"),
    (metric('{ field = "x", rollup = "mean" }'), r"metrics.mem.rollup: expected one of"),
    (metric('{ field = "x", rollup = "sum", type = "STRING" }'), r"metrics.mem.rollup: of texts"),
    (metric('{ field = "x", across = "max", type = "STRING" }'), r"metrics.mem.across: of texts"),
    (metric('{ field = "x", rollup = "rate" }', 'rollup = "0s"'), r"metrics.mem.rollup: a rate is of several ticks"),
    (HEAD + "timestamp = true" + SCHEMA.replace("mem =", "timestamp ="), r"timestamp: .*has a field of that name"),
    (
        PRESET + SCHEMA.replace("2897", "2896"),
        r":12 sinks.insight.schema\[0\].cw_key: is the preset's already: each schema has a key of its own",
    ),
    (HEAD + SCHEMA + SCHEMA, r"schema\[1\].cw_key: is that of schema\[0\] already"),
    (HEAD + SCHEMA.replace("{ mem", "{ 'me m'"), r"schema\[0\].metrics: 'me m' cannot be"),
    (HEAD + re.sub("{.*}", "{}", SCHEMA), r"schema\[0\].metrics: expected at least one"),
]


@pytest.mark.parametrize(
    ("text", "select"),
    [
        (PRESET, ("host.*",)),
        (PRESET + SCHEMA + 'select = ["mqtt.plant", "host.*"]', ("host.*", "mqtt.plant")),
        (PRESET + SCHEMA, ("*",)),
        (PRESET + 'select = "host.cpu"' + SCHEMA, ("host.cpu",)),
    ],
)
def test_a_sink_gets_what_its_schemas_are_fed_by(text: str, select: tuple[str, ...], tmp_path: Path) -> None:
    assert read(text, tmp_path).sinks["insight"].selection.select == select


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_mistakes_are_told_with_their_place(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text, tmp_path)
    assert [line for line in str(refused.value).splitlines() if re.search(told, line)], str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_rollup_below_a_minute_is_doubtful(tmp_path: Path) -> None:
    text = PRESET.replace('"host"\n', '"host"\ninterval = "5s"\n', 1) + 'rollup = "10s"'
    (warning,) = read(text, tmp_path).warnings
    assert warning.where.endswith("sinks.insight.rollup")
    assert "aggregates by the minute" in warning.text


def collectors(*tables: str) -> str:
    """The preset's sink with these collectors, each written without its head."""
    heads = "".join(f"[collectors.c{n}]\n{table}\n" for n, table in enumerate(tables))
    return heads + PRESET.partition('type = "host"\n')[2]


HOST = 'type = "host"\n'
MQTT = 'type = "mqtt"\nurl = "mqtt://127.0.0.1"\n[[collectors.c0.subscription]]\ntopic = "a"\n'
ALL_BUT = ["cpu", "load", "mem", "swap", "disk", "system", "processes"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (collectors(HOST), ""),
        (collectors(HOST + 'naming = "ncloud"\ninterval = "1m"'), ""),
        (collectors(HOST + 'interval = "30s"'), ""),
        (collectors(HOST + 'naming = "otel"'), r'nothing in what collectors.c0 gives under naming = "otel"'),
        (collectors(HOST, HOST + 'naming = "otel"'), r"nothing in what collectors.c1 gives"),
        (
            collectors(HOST + 'interval = "31s"'),
            r"at most 30s as the interval of collectors.c0, found 31s: two samples .* rcv_bps, .* stay empty",
        ),
        (
            collectors(HOST + 'interval = "2m"\nnaming = "ncloud"'),
            r"at most 1m as .*, found 2m: there are rows missing",
        ),
        (collectors(HOST + 'interval = "31s"') + 'rollup = "5m"', ""),
        (
            collectors(HOST + f"groups = {ALL_BUT}"),
            r"groups of collectors.c0 lack net, diskio: rcv_bps, .*write_byt_cnt, max_disk_used_rto stay empty",
        ),
        (collectors(HOST + f"groups = {ALL_BUT}", HOST + 'groups = ["net", "diskio"]'), ""),
        (collectors(MQTT) + 'select = "*"', r"there is no collector of type host"),
        (collectors(MQTT).replace('preset = "host"\ncw_key = "460438474722512896"', "") + SCHEMA, ""),
    ],
)
def test_what_the_preset_will_lack_is_doubted(text: str, told: str, tmp_path: Path) -> None:
    warnings = read(text, tmp_path).warnings
    assert len(warnings) == bool(told), warnings
    for warning in warnings:
        assert warning.where.endswith("sinks.insight.preset")
        assert re.search(told, warning.text), warning.text


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    config = read(PRESET + SCHEMA, tmp_path)
    assert "canary" not in f"{resolved(config)} {config} {list(summary(config))}"


def test_check_says_what_it_costs(tmp_path: Path) -> None:
    text = """
    [[sinks.insight.schema]]
    cw_key = "460438474722512897"
    name = "Custom/Plant"
    dimensions = { device = "device", site = "site", part = "fields.part" }
    metrics = { v = "v" }
    [agent]
    hostname = "web-1"
    tags = { site = "seoul" }
    """
    lines = [line.strip() for line in summary(read(PRESET + textwrap.dedent(text), tmp_path))]
    at = next(n for n, line in enumerate(lines) if line.startswith("sends"))
    cost, machine, plant = lines[at + 1 : at + 4]
    assert cost.startswith(
        "requests: one every 1m for each of 2 schemas, 2,880 a day, more where a schema has over 100 "
    )
    assert machine.startswith("preset host: rows: one every 1m, 1,440 a day; 30 metrics; targets: host = web-1 alone")
    assert "1,440 a day for each value of the tag device and each value of the field part; 1 metric;" in plant
    assert plant.endswith("targets: one for each value of the tag device")


def test_what_the_page_shows_loads_and_holds_every_option_of_a_schema(tmp_path: Path) -> None:
    text = DOCS.read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        host = "" if "[collectors." in block else '[collectors.host]\ntype = "host"\n'
        for name in re.findall(r'"credential:([^"]+)"', block):
            (tmp_path / name).write_text("secret")
        (tmp_path / "agent.toml").write_text(block + host)
        load([tmp_path / "agent.toml"], {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    names: list[Any] = [each.name for cls in (Schema, Metric) for each, _ in options_of(cls)]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_page_lists_the_presets_metrics() -> None:
    rows = [f"| `{each.name}` | {each.type} | {each.desc} |" for each in preset.host("1").measures]
    assert "\n".join(rows) in DOCS.read_text()
