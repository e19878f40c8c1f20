"""`jobCondition`: with what a job runs, by executeJob, createWorkflow and updateJobExecuteConfig."""

from __future__ import annotations

from agent.ncloud.data_flow.shapes import NEW, OLD, Member, Reading, Shape, one_of, table, text, texts, whole

_PATH = "a path in Object Storage such as bucket/scripts/"


def _timeout(reading: Reading, place: str, value: object) -> None:
    # 0 to 1440 minutes in older documents, 1 to 1440 in newer ones.
    whole(0 if reading.api == "2024" else 1, 1440)(reading, place, value)


_SHAPE: Shape = {
    "workerType": Member(one_of("DEFAULT", "DATAFLOW"), known=OLD),
    "numWorker": Member(whole(2, 10)),
    "timeout": Member(_timeout),
    "nrn": Member(text("a resource name such as nrn:PUB:IAM::MEMBER:Role/UUID"), OLD),
    "scriptPath": Member(text(_PATH), OLD),
    "logPath": Member(text(_PATH), OLD),
    "parameters": Member(texts, known=NEW),
}

job_condition = table(_SHAPE)
