"""Where records come from. A collector is one small file (or folder) here and one line in this table."""

KINDS = {  # `type` in [collectors.NAME] -> the class, imported when it is used
    "host": "agent.collectors.host:Host",
    "mqtt": "agent.collectors.mqtt:Mqtt",
    "self": "agent.collectors.self:Self",
}
GROUP = "telemetry_agent.collectors"  # entry points of this group give further kinds
