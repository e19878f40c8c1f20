"""Bodies as the documents of Data Flow show them, with nothing that two tests would have to know twice."""

from __future__ import annotations

NRN = "nrn:PUB:IAM::2500000:Role/6a1b"
CONDITION = {"numWorker": 2, "timeout": 360, "nrn": NRN, "scriptPath": "b/scripts/", "logPath": "b/logs/"}
FIELDS = [{"name": "id", "type": "string"}, {"name": "price", "type": "decimal(10,2)", "properties": {"a": 1}}]
SOURCE = {
    "id": 1697776000001,
    "name": "Object Storage",
    "type": "SOURCE_OBS",
    "parentNodeIds": [],
    "regionNo": "1",
    "bucketName": "lake",
    "prefix": "telemetry/",
    "dataType": "NDJSON",
    "fieldList": FIELDS,
}
FILTER = {
    "id": 1697776000002,
    "name": "필터",
    "type": "TRANSFORM_FILTER",
    "parentNodeIds": [1697776000001],
    "filterType": "AND",
    "filterConditionList": [{"name": "price", "operator": "GTE", "value": 4}],
}
TARGET = {
    **SOURCE,
    "id": 1697776000003,
    "type": "TARGET_OBS",
    "parentNodeIds": [1697776000002],
    "dataType": "PARQUET",
    "updateType": "OVERWRITE",
    "coalesce": 1,
}
OTHER = {"id": 7, "name": "sql", "type": "TRANSFORM_SQL", "parentNodeIds": [1697776000001], "anything": {"at": [1]}}
NODES = [SOURCE, FILTER, TARGET, OTHER]
START = {"id": "tr1", "name": "by hand", "type": "TRIGGER", "parentNodeIds": [], "triggerRule": "NONE"}
STEP = {"id": "job1", "name": "job", "type": "JOB", "parentNodeIds": ["tr1"], "jobCondition": CONDITION}
RECURRING = {"type": "RECURRING", "interval": "DAY", "time": "10:00"}
TRIGGER = {"name": "trigger1", "type": "SCHEDULED", "triggerRule": RECURRING}
