"""
What the vendor's pages leave open, each with a value that can be chosen: the harsher one unless told.

All may be changed while it serves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

Shape = Literal[
    "string",  # {"error": {"errorCode": "210", "message", "details"}}: the documented example, and as measured
    "number",  # the same with a number for errorCode, as the table of the same page types it
    "status",  # a number, and that of the HTTP status: measured once
    "no_details",
    "responseError",
    "spring",
    "top",  # errorCode and message at the top
    "code",  # code and msg
    "problem",  # Data Flow's
    "xml",
    "html",
    "empty",
]
Image = Literal["png", "large", "torn", "error", "html", "empty"]  # error: JSON with status 200
End = Literal["COMPLETED", "FAILED", "CANCELED"]


@dataclass(slots=True, kw_only=True)
class Settings:
    """The switches of one stand-in."""

    # The gateway.
    clock_offset: float = 0.0  # seconds its clock is ahead of this machine's
    sends_date: bool = True
    skew: float = 300.0  # that many seconds or more between the clocks make a request invalid
    body_limit: int = 256 * 1024  # bytes on the wire
    requests_per_minute: int | None = None  # over all keys; refused requests count
    limit_code: Literal["400", "410", "420"] = "410"
    retry_after: str | None = None  # with the 429 of the limit
    shape: Shape = "string"
    error_type: str | None = None  # Content-Type of error bodies; None: the shape's own
    xml_unless_asked: bool = False  # XML errors where Accept does not name application/json
    takes_gzip: bool = False
    json_only: bool = True  # a Content-Type, where there is one, must be application/json
    # SendData.
    success: str = "success"
    failure: str = "fail"  # the `result` of what it does not take
    unknown_key: str = "fail"  # ... with a cw_key that no schema has
    without_key: str = "success"  # documented: ignored and discarded; not what is answered
    unreadable: Literal["status", "result"] = "status"  # a body that is not JSON: 400, or 200 with a `result`
    max_rows: int | None = 100
    too_many_rows: Literal["result", "status"] = "result"  # 200 with a `result`, or 413
    mistyped: Literal["field", "row", "request"] = "field"  # what a value of the wrong type costs, without a word
    honours_timestamp: bool = False  # a record's own `timestamp` in ms
    needs_region: str | None = None  # data without this X-NCP-REGION_NO is taken and not aggregated
    # Read-back and schemas.
    visible_after: float = 60.0  # seconds from arrival until a row can be queried
    query_shape: Literal["array", "data"] = "array"  # the page's example is a bare array, its table names `data`
    missing_schema: Literal["null", "empty", "object", "error"] = "null"  # GET of a schema that is not there
    same_name: Literal["second", "error"] = "second"  # a name created twice
    update: Literal["replace", "merge"] = "replace"
    shows_secret: bool = True  # a field `secret` in the answer to GET
    # Dashboards.
    dashboards: list[dict[str, Any]] | None = None  # rows of dashboards.Dashboard; None: one, of the schemas' metrics
    image: Image = "png"  # what a request for a widget's image is answered with
    image_of: dict[str, Image] = field(default_factory=dict)  # the same by widgetId
    # Data Flow.
    api: Literal["2024", "2026"] = "2026"  # which generation of its pages: the bodies, and PUT or PATCH of updateJob
    dates: Literal["offset", "local"] = "offset"  # 2024-07-10T14:16:01+09:00, or 2023-10-20T13:45:15.000
    count: Literal["page", "total"] = "page"  # what `count` of a list means: the pages say the one and the other
    newest_first: bool = True  # the order of lists
    flow_errors: Literal["problem", "error"] = "problem"
    takes_is_temp: bool = False  # isTemp in createWorkflow, which the pages of 2026 no longer have
    verify_failure: Literal["problem", "false"] = "problem"  # what verifyJob says of what is wrong
    deletes_say: Literal["true", "nothing"] = "true"  # 200 with a bare true, or 204
    edits_running: bool = False  # a job or workflow may be changed and deleted while it runs
    executions_wait: float = 0.2  # seconds of READY
    executions_take: float = 1.0  # seconds of RUNNING
    executions_end: End = "COMPLETED"
    executions_listed_after: float = 0.0  # seconds from its start until an execution is in the lists
    runs_appear_after: float = 0.2  # seconds from ACCEPTED until a workflow's first execution is there

    def change(self, values: dict[str, Any]) -> None:
        """Set some of them; KeyError where there is no such setting, and then none is set."""
        known = {item.name for item in fields(self)}
        if unknown := set(values) - known:
            raise KeyError(", ".join(sorted(unknown)))
        for name, value in values.items():
            setattr(self, name, value)
