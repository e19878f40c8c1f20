"""
The clouds' error tables, walked row by row: each answer is given to everything for a while, and then no longer.

No row may cost a message, or leave a dead letter: what is answered to everything accuses nothing. While it lasts, the
sink's reason in /status.json must say what the row is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.far_sides import Name, far_scene
from faults.rows import fault
from faults.stage import Stage


@dataclass(frozen=True, slots=True)
class Trouble:
    """A row of an error table: what the stand-in is told to do, and what the agent must say of it."""

    case: str
    fault: str
    told: str  # words of the sink's state and reason
    options: Mapping[str, Any] = field(default_factory=dict)


def answers(status: int, told: str, body: str = "", **options: Any) -> Trouble:
    """This answer, to the byte."""
    return Trouble(f"{status} {body[:40]}", "verbatim", told, {"status": status, "body": body, **options})


def envelope(code: str | int, message: str, *, id: str = "api.data.in", resmsgid: str = "0d7c") -> str:
    """An error of Obsrv's; those from before its route have the id "api" and no resmsgid."""
    params = {"status": "FAILED", "resmsgid": resmsgid}
    return json.dumps({"id": id, "ver": "v2", "params": params, "error": {"code": code, "message": message}})


def unparsed(message: str) -> str:
    """What Obsrv's parser of bodies says."""
    return envelope("INTERNAL_SERVER_ERROR", message, id="api", resmsgid="")


def obsrv(status: int, code: str | int, told: str, message: str = "so it is", stage: str = "lookup") -> Trouble:
    """An error of Obsrv's own route."""
    options = {"stage": stage, "status": status, "code": code, "message": message}
    return Trouble(f"{status} {code}", "answer", told, options)


GONE = '{"ver":"v1","params":{"status":"FAILED","errmsg":"v1 APIs have been replace"},"responseCode":"GONE"}'
PAGE = "<html><body><h1>Bad gateway</h1></body></html>"

OBSRV = [
    Trouble("400 DATA_INGESTION_INVALID_INPUT", "refuse", "refusing: the content was refused"),
    answers(400, "the path cannot be decoded", unparsed("Failed to decode param '%zz'")),
    answers(400, "the request did not arrive whole"),
    obsrv(401, "UNAUTHORIZED ACCESS", "the token was refused"),
    obsrv(403, "FORBIDDEN ACCESS", "the token has no role that may ingest"),
    obsrv(404, "DATASET_NOT_FOUND", "there is no live dataset of that name"),
    obsrv(404, "TOPIC_NOT_FOUND", "the dataset has no entry topic"),
    obsrv(404, "ROUTE_NOT_FOUND", "there is no such API at this address"),
    answers(410, "this path is gone", GONE),
    answers(500, "refusing: the body could not be read", unparsed("Unexpected token } in JSON at position 7")),
    answers(500, "refusing: larger than Obsrv's limit for a body", unparsed("request entity too large")),
    answers(500, "the request did not arrive whole", unparsed("request aborted")),
    answers(500, "the request did not arrive whole", unparsed("request size did not match content length")),
    Trouble("500 10", "too_large", "refusing: larger than a message may be", {"above": 0}),
    obsrv(500, 17, "the entry topic is invalid", stage="send"),
    obsrv(500, 29, "may not write to the entry topic", stage="send"),
    obsrv(500, 31, "not authorised in the cluster", stage="send"),
    obsrv(500, 87, "the broker's validation refuses records", stage="send"),
    obsrv(500, "INTERNAL_SERVER_ERROR", "Obsrv failed", "connect ECONNREFUSED 127.0.0.1:15432", stage="lookup"),
    Trouble("500, stored", "error", "Obsrv failed", {"stored": True}),
    obsrv(500, "ERR_OUT_OF_RANGE", "Obsrv failed (500 ERR_OUT_OF_RANGE", stage="send"),
    Trouble("no answer", "hang", "no answer within 5 s", {"stage": "send"}),
    # What a gateway before it may add.
    answers(413, "refusing: answered 413", PAGE),
    answers(429, "answered 429", PAGE),
    answers(429, "answered 429", PAGE, retry_after="40"),
    answers(502, "answered 502", PAGE),
    Trouble("503", "unavailable", "answered 503"),
    Trouble("503, Retry-After", "unavailable", "answered 503", {"retry_after": 40}),
    answers(504, "answered 504", PAGE),
]


def gateway(code: str, told: str, **options: Any) -> Trouble:
    """An error of NAVER's gateway."""
    return Trouble(f"code {code}", "gateway", told, {"code": code, **options})


INSIGHT = [
    gateway("100", "the gateway did not understand the request"),
    gateway("200", "the keys, the signature or this clock were refused"),
    gateway("210", "the key has no right to this API"),
    gateway("230", "the key has no right to this resource"),
    gateway("300", "there is no such API"),
    gateway("400", "the quota is used up"),  # five minutes each time
    gateway("410", "too many requests"),
    gateway("420", "too many requests", retry_after="40"),
    gateway("430", "refusing: cw_key 460438474722512890: a row of"),
    gateway("500", "the gateway does not reach the service"),
    gateway("510", "the service did not answer the gateway in time", stored=True),
    gateway("900", "the gateway failed"),
    Trouble("200, another result", "result", 'the result is "fail"'),
    Trouble("200, nothing", "unconfirmed", "answered 200, with nothing"),
    answers(200, "answered 200, without a result", PAGE),
    answers(401, "not authenticated"),
    answers(429, "too many requests", "<responseError><returnCode>410</returnCode></responseError>"),
    Trouble("no answer", "hang", "no answer within 5 s", {"stage": "send"}),
    Trouble("503", "unavailable", "answered 503", {"retry_after": 40}),
]


def blueflood(status: int, told: str, message: str) -> Trouble:
    """An error list of Blueflood's."""
    entry = {"tenantId": "123456", "timestamp": None, "metricName": "", "source": None, "message": message}
    return answers(status, told, json.dumps({"errors": [entry]}))


def identity(fault: str, told: str, **options: Any) -> Trouble:
    """An answer of Identity's, which is asked for another token."""
    return Trouble(f"Identity: {fault}", fault, told, {"at": "identity", **options})


RACKSPACE = [
    blueflood(207, "refusing: answered 207", "one event was refused"),
    Trouble("400", "refuse", "refusing: answered 400"),
    Trouble("401", "unauthorized", "Identity hands out the same again"),
    Trouble("403", "forbidden", "answered 403 Forbidden"),
    answers(404, "is url right?"),
    answers(405, "is url right?"),
    Trouble("413, Retry-After", "over_limit", "answered 413 OverLimit", {"retry_after": 40}),
    Trouble("413, a limit", "over_limit", "answered 413 OverLimit", {"retry_after": None}),
    Trouble("413, a size", "too_large", "refusing: answered 413"),
    blueflood(415, "is url right?", "Unsupported media type for Accept: x"),
    answers(417, "refusing: answered 417"),
    Trouble("429", "over_limit", "answered 429", {"status": 429}),
    Trouble("500, no Elasticsearch", "no_elasticsearch", "Unable to reach Elasticsearch"),
    Trouble("500, it is busy", "overloaded", "rejected_execution"),
    Trouble("500, it refuses", "unparsable", "refusing: answered 500"),
    Trouble("500, stored ten times", "broken_store", "Unable to reach Elasticsearch"),
    answers(500, "answered 500"),
    answers(501, "is url right?"),
    Trouble("503", "unavailable", "answered 503"),
    Trouble("503, Retry-After", "unavailable", "answered 503", {"retry_after": 40}),
    Trouble("no answer", "hang", "no answer within 5 s", {"stage": "send"}),
    identity("verbatim", "Identity answered 400", status=400, body='{"badRequest":{"code":400,"message":"Auth data"}}'),
    identity("unauthorized", "Identity answered 401"),
    identity("forbidden", "Identity answered 403"),
    identity("over_limit", "Identity answered 413", retry_after=40),
    identity("over_limit", "Identity answered 429", status=429, retry_after=None),
    identity("broken", "Identity answered 500"),
    identity("broken", "Identity answered 503", status=503),
    identity("verbatim", "Identity: an answer without a token", status=200, body=PAGE),
    identity("hang", "Identity: no answer within 5 s", stage="read"),
]


@fault("far-obsrv-errors")
def obsrv_errors(stage: Stage) -> None:
    _walk(stage, "lake", OBSRV)


@fault("far-insight-errors")
def insight_errors(stage: Stage) -> None:
    _walk(stage, "insight", INSIGHT)


@fault("far-rackspace-errors")
def rackspace_errors(stage: Stage) -> None:
    _walk(stage, "notes", RACKSPACE)


def _walk(stage: Stage, name: Name, troubles: Sequence[Trouble]) -> None:
    for _ in range(stage.times):
        with far_scene(stage, name) as scene:
            for trouble in stage.rng.sample(troubles, len(troubles)):
                try:
                    scene.endure(name, trouble.fault, trouble.told, **trouble.options)
                except AssertionError as error:
                    raise AssertionError(f"{trouble.case}: {error}") from error
            scene.notes["troubles"] = len(troubles)
            scene.settle()
