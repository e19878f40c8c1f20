"""Where records go. A sink is one small file here and one line in this table."""

KINDS = {  # `type` in [sinks.NAME] -> the class, imported when it is used
    "cloud_insight": "agent.sinks.cloud_insight:CloudInsight",
    "obsrv": "agent.sinks.obsrv:Obsrv",
    "rackspace": "agent.sinks.rackspace:Rackspace",
    "object_storage": "agent.sinks.object_storage:ObjectStorage",
    "file": "agent.sinks.file:File",
    "stdout": "agent.sinks.stdout:Stdout",
}
GROUP = "telemetry_agent.sinks"  # entry points of this group give further kinds
