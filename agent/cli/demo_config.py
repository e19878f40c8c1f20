"""The configuration of the demo's agent: what a newcomer may start from."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from agent.cli.demo_clouds import KEY, USER, Clouds
from agent.cli.demo_stored import DATASET, DEVICES_KEY, HOST_KEY, TENANT
from agent.sandbox.broker import Broker

MQTT = "plant"  # the collector of the readings
ALARMS = "alarms"  # the collector of the alarms
RULE = "hot"

_CONFIG = """\
# The agent of `telemetry-agent demo`. docs/configuration.md explains every option.

[agent]
hostname = "demo"
stop_grace = "5s"
lifecycle_events = ["start", "outage"]  # event.agent: what the agent says of itself
lifecycle_jitter = "0s"                 # at once: it is alone here

[spool]
directory = {state}

[log]
format = "text"

[status]
listen = "127.0.0.1:{port}"

# Where records come from.

[collectors.host]
type = "host"
interval = "2s"

[collectors.{mqtt}]
type = "mqtt"
url = "{broker}"
protocol = "{protocol}"
[[collectors.{mqtt}.subscription]]
topic = "plant/{{site}}/{{device}}/state"
qos = 1
time = {{ key = "time", format = "ms" }}

[collectors.{alarms}]
type = "mqtt"
url = "{broker}"
protocol = "{protocol}"
[[collectors.{alarms}.subscription]]
topic = "plant/{{site}}/{{device}}/alarm"
qos = 1
time = {{ key = "time", format = "ms" }}

# A record of event.{rule} whenever a device becomes hot, and when it is so no longer.

[[events]]
name = "{rule}"
when = "mqtt.{mqtt}.temperature > 24"
clear = "< 23"
max_per_hour = 3600
what = "{{tags.device}} in {{tags.site}} is hot: {{value}} degrees"
what_clear = "{{tags.device}} in {{tags.site}} is back at {{value}} degrees after {{for}}"

# Where they go.

[sinks.obsrv]  # everything
type = "obsrv"
url = "{obsrv}"
dataset = "{dataset}"

[sinks.insight]  # NAVER Cloud Insight: this host, and the devices' readings rolled up
type = "cloud_insight"
select = ["host.*", "mqtt.{mqtt}"]
url = "{insight}"
access_key = "{access_key}"
secret_key = "{secret_key}"
rollup = "5s"  # to see rows soon; the service draws by the minute, which is the default
preset = "host"
cw_key = "{host_key}"
[[sinks.insight.schema]]
name = "Custom/Devices"
cw_key = "{devices_key}"
select = ["mqtt.{mqtt}"]
dimensions = {{ device = "device", site = "site" }}
[sinks.insight.schema.metrics]
temperature = {{ field = "temperature", rollup = "avg" }}
temperature_max = {{ field = "temperature", rollup = "max" }}
messages = {{ field = "messages", rollup = "sum", type = "LONG" }}

[sinks.rackspace]  # Rackspace Metrics: events alone
type = "rackspace"
select = ["event.*", "mqtt.{alarms}"]
tenant = "{tenant}"
username = "{username}"
api_key = "{api_key}"
identity_url = "{identity}"
rate = 600
"""


def configuration(directory: Path, broker: Broker, clouds: Clouds) -> tuple[str, int]:
    """The text of agent.toml, and the port of the status page in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    text = _CONFIG.format(
        state=json.dumps(str(directory / "state"), ensure_ascii=False),
        port=port,
        mqtt=MQTT,
        alarms=ALARMS,
        rule=RULE,
        broker=broker.url,
        protocol=broker.protocol,
        obsrv=clouds.obsrv.sandbox.url,
        dataset=DATASET,
        insight=clouds.insight.sandbox.url,
        access_key=KEY.id,
        secret_key=KEY.secret,
        host_key=HOST_KEY,
        devices_key=DEVICES_KEY,
        identity=clouds.rackspace.sandbox.identity_url,
        tenant=TENANT,
        username=USER.username,
        api_key=USER.api_key,
    )
    return text, port
