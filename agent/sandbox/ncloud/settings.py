"""
What the vendor's pages leave open, each with a value that can be chosen: the harsher one unless told.

All may be changed while it serves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
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

    def change(self, values: dict[str, Any]) -> None:
        """Set some of them; KeyError where there is no such setting, and then none is set."""
        known = {item.name for item in fields(self)}
        if unknown := set(values) - known:
            raise KeyError(", ".join(sorted(unknown)))
        for name, value in values.items():
            setattr(self, name, value)
