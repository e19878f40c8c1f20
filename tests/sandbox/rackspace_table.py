"""
What is known of Blueflood's events route, as rows: a request, the answer, what is stored.

Blueflood at 6557fd4f, read and run against a stand-in for Elasticsearch; the hosted service's documents for the rest.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TENANT = "123456"
PATH = f"/v2.0/{TENANT}/events"
EVENT = '{"what":"x","when":NOW}'
PLAIN: Mapping[str, object] = {"tenant": TENANT, "what": "x", "when": "NOW", "tags": "", "data": ""}
LIMIT = 1_048_576
OUT_OF_BOUNDS = (
    "Out of bounds. Cannot be more than 259200000 milliseconds into the past. "
    "Cannot be more than 600000 milliseconds into the future"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`says` is the message's beginning or, with `sources`, not looked at; `stored` is None where nothing is."""

    fact: str
    case: str
    status: int | None = 200
    method: str = "POST"
    path: str = PATH
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = EVENT
    coded: Callable[[bytes], bytes] = bytes
    says: str = ""
    error_tenant: str = TENANT
    sources: Mapping[str, str] = field(default_factory=dict)
    allow: str | None = None
    stored: Mapping[str, object] | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def stored(**changes: object) -> Mapping[str, object]:
    return {**PLAIN, **changes}


def route(case: str, path: str, status: int | None, method: str = "POST", **more: object) -> Row:
    return Row(fact="1.1 path", case=case, path=path, status=status, method=method, **more)  # type: ignore[arg-type]


def taken(fact: str, case: str, **more: object) -> Row:
    return Row(fact=fact, case=case, **{"stored": PLAIN, **more})  # type: ignore[arg-type]


def refused(fact: str, case: str, body: str, says: str = "Invalid Data: ", status: int = 400, **more: object) -> Row:
    return Row(fact=fact, case=case, body=body, says=says, status=status, **more)  # type: ignore[arg-type]


def bounds(case: str, body: str) -> Row:
    return Row(fact="1.2 when", case=case, body=body, status=400, sources={"when": OUT_OF_BOUNDS})


def valued(fact: str, case: str, name: str, text: str, value: object) -> Row:
    """A field's JSON text and what is stored of it."""
    pairs = {"what": '"x"', "when": "NOW", name: text}
    body = "{" + ",".join(f'"{key}":{item}' for key, item in pairs.items()) + "}"
    return Row(fact=fact, case=case, body=body, stored=stored(**{name: value}))


def with_data(text: str) -> str:
    return json.dumps({"what": "x", "when": "NOW", "data": text}, ensure_ascii=False)


def escaping(case: str, value: str, naive: str | None, **more: object) -> list[Row]:
    """A value of `data`: what the builder without escapes makes of it (None: 500), and the one with them."""
    body = with_data(value)
    if naive is None:
        first = refused("1.3 values", case, body, "Error: Elasticsearch request failed: ", 500)
    else:
        first = taken("1.3 values", case, body=body, stored=stored(data=naive, **more))
    escaped = taken("1.3 values", f"{case}, escaped", body=body, stored=stored(data=value), options={"mode": "escaped"})
    return [first, escaped]


def sized(total: int) -> str:
    """A body of exactly so many bytes once NOW has become 13 digits; white space takes the room."""
    rest = len('{"what":"x","when":}') + 13
    return '{"what":"x","when":NOW' + " " * (total - rest) + "}"


ROUTES = [
    taken("1.1 path", "as documented"),
    route("trailing slash", f"{PATH}/", 404),
    taken("1.1 path", "query string ignored", path=f"{PATH}?from=1"),
    route("v1.0", f"/v1.0/{TENANT}/events", 404),
    route("no tenant", "/v2.0//events", 404),
    route("the query's path", f"{PATH}/getEvents?from=1", 404),
    Row(fact="1.1 wrong verb", case="GET", method="GET", status=405, allow="POST"),
    Row(fact="1.1 wrong verb", case="PUT", method="PUT", status=501),
    Row(fact="1.1 wrong verb", case="DELETE", method="DELETE", status=501),
    Row(fact="1.1 wrong verb", case="HEAD", method="HEAD", status=501),
    Row(fact="1.1 health", case="v2.0", method="GET", path="/v2.0"),
    Row(fact="1.1 health", case="v1.0", method="GET", path="/v1.0"),
    *(
        taken("1.1 Content-Type", kind, headers={"Content-Type": kind})
        for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON", "x/application/json")
    ),
    taken("1.1 Content-Type", "absent"),
    *(
        Row(
            fact="1.1 Content-Type",
            case=kind,
            headers={"Content-Type": kind},
            status=415,
            says=f"Unsupported media type for Content-Type: {kind}",
            error_tenant="",
        )
        for kind in ("text/plain", "application/x-www-form-urlencoded")
    ),
    *(taken("1.1 Accept", kind, headers={"Accept": kind}) for kind in ("*/*", "text/html, application/json;q=0.9")),
    Row(
        fact="1.1 Accept",
        case="text/html",
        headers={"Accept": "text/html"},
        status=415,
        says="Unsupported media type for Accept: text/html",
        error_tenant="",
    ),
    taken("1.1 X-Auth-Token", "ignored", headers={"X-Auth-Token": "nobody's"}),
    taken("1.1 tenantId header", "the first of two", headers={"tenantId": "other"}, stored=stored(tenant="other")),
    refused("1.1 tenantId header", "in errors too", "[]", headers={"tenantId": "other"}, error_tenant="other"),
    refused(
        "1.1 tenant characters",
        "a space",
        EVENT,
        "Error: Illegal character in query at index 53",
        500,
        path="/v2.0/a%20b/events",
        error_tenant="a b",
    ),
    taken("1.1 tenant characters", "hybrid", path="/v2.0/hybrid:12/events", stored=stored(tenant="hybrid:12")),
    taken("1.1 Content-Encoding", "gzip", headers={"Content-Encoding": "gzip"}, coded=gzip.compress),
    taken("1.1 Content-Encoding", "deflate", headers={"Content-Encoding": "deflate"}, coded=zlib.compress),
    taken(
        "1.1 Content-Encoding",
        "deflate, bare",
        headers={"Content-Encoding": "deflate"},
        coded=lambda body: zlib.compress(body)[2:-4],
    ),
    taken("1.1 Content-Encoding", "unknown", headers={"Content-Encoding": "br"}),
]

BODIES = [
    refused("1.2 one object", "array", f"[{EVENT}]"),
    refused("1.2 one object", "two", EVENT + EVENT, "Invalid Data: Only one event is allowed per request"),
    refused("1.2 one object", "lines", f"{EVENT}\n{EVENT}", "Invalid Data: Only one event is allowed per request"),
    refused("1.2 one object", "text", '"x"'),
    refused("1.2 one object", "number", "5"),
    taken("1.2 one object", "white space around it", body=f" \n{EVENT}\r\n\t"),
    *(
        refused(
            "1.2 known keys",
            name,
            f'{{"what":"x","when":NOW,"{name}":"1"}}',
            f'Invalid Data: Unrecognized field "{name}"',
        )
        for name in ("id", "host", "source", "tenantId", "When")
    ),
    taken(
        "1.2 duplicate keys", "last wins", body='{"what":"a","when":1,"what":"b","when":NOW}', stored=stored(what="b")
    ),
    *(
        Row(fact="1.2 what", case=case, body=body, status=400, sources={"what": "may not be empty"})
        for case, body in (
            ("missing", '{"when":NOW}'),
            ("null", '{"what":null,"when":NOW}'),
            ("empty", '{"what":"","when":NOW}'),
        )
    ),
    Row(
        fact="1.2 what",
        case="and when",
        body="{}",
        status=400,
        sources={"what": "may not be empty", "when": OUT_OF_BOUNDS},
    ),
    valued("1.2 what", "white space", "what", '" "', " "),
    valued("1.2 what", "number", "what", "1.50", "1.50"),
    valued("1.2 what", "bool", "what", "true", "true"),
    refused("1.2 what", "array", '{"what":["x"],"when":NOW}'),
    refused("1.2 what", "object", '{"what":{},"when":NOW}'),
    taken("1.2 when", "numeric string", body='{"what":"x","when":"NOW"}'),
    taken("1.2 when", "float, cut off", body='{"what":"x","when":NOW.9}'),
    taken("1.2 when", "scientific", body='{"what":"x","when":NOWe0}'),
    refused("1.2 when", "bool", '{"what":"x","when":true}'),
    refused("1.2 when", "text", '{"what":"x","when":"now"}'),
    refused("1.2 when", "text with a fraction", '{"what":"x","when":"NOW.0"}'),
    refused("1.2 when", "above int64", '{"what":"x","when":9223372036854775808}'),
    refused("1.2 when", "far above int64", '{"what":"x","when":1e30}'),
    bounds("missing", '{"what":"x"}'),
    bounds("null", '{"what":"x","when":null}'),
    bounds("empty text", '{"what":"x","when":""}'),
    bounds("0", '{"what":"x","when":0}'),
    bounds("negative", '{"what":"x","when":-1}'),
    bounds("seconds", '{"what":"x","when":1700000000}'),
    *(
        row
        for name in ("tags", "data")
        for row in (
            valued(f"1.2 {name}", "text", name, '"a b"', "a b"),
            valued(f"1.2 {name}", "empty", name, '""', ""),
            valued(f"1.2 {name}", "number", name, "7", "7"),
            valued(f"1.2 {name}", "bool", name, "false", "false"),
            valued(f"1.2 {name}", "null", name, "null", "null"),
            refused(f"1.2 {name}", "array", f'{{"what":"x","when":NOW,"{name}":["a"]}}'),
            refused(f"1.2 {name}", "object", f'{{"what":"x","when":NOW,"{name}":{{"a":1}}}}'),
        )
    ),
    taken(
        "1.2 window", "just within, past", body='{"what":"x","when":NOW-259195000}', stored=stored(when="NOW-259195000")
    ),
    taken("1.2 window", "just within, future", body='{"what":"x","when":NOW+595000}', stored=stored(when="NOW+595000")),
    Row(
        fact="1.2 window",
        case="older",
        body='{"what":"x","when":NOW-259205000}',
        status=400,
        sources={"when": OUT_OF_BOUNDS},
    ),
    Row(
        fact="1.2 window",
        case="later",
        body='{"what":"x","when":NOW+605000}',
        status=400,
        sources={"when": OUT_OF_BOUNDS},
    ),
    refused("1.2 encoding", "BOM", EVENT, coded=lambda body: b"\xef\xbb\xbf" + body),
    refused("1.2 encoding", "UTF-16", EVENT, coded=lambda body: body.decode().encode("utf-16")),
    refused("1.2 encoding", "UTF-16 without a mark", EVENT, coded=lambda body: body.decode().encode("utf-16-le")),
    taken(
        "1.2 encoding",
        "invalid UTF-8",
        body='{"what":"a<>b","when":NOW}',
        coded=lambda body: body.replace(b"<>", b"\xff"),
        stored=stored(what="a\ufffdb"),
    ),
    taken("1.2 encoding", "lone surrogate", body='{"what":"a\\ud800b","when":NOW}', stored=stored(what="a?b")),
    refused("1.2 encoding", "bare control character", '{"what":"a\nb","when":NOW}'),
]

VALUES = [
    *escaping("quotation mark", 'say "hi"', None),
    *escaping("JSON", '{"a":1}', None),
    *escaping("newline", "a\nb", None),
    *escaping("tab", "a\tb", None),
    *escaping("NUL", "a\0b", None),
    *escaping("backslash and no escape", "C:\\Program", None),
    *escaping("backslash at the end", "C:\\", None),
    *escaping("literal escapes", "a\\tb\\\\c\\u0041\\/", "a\tb\\cA/"),
    *escaping("crafted", 'x","tenantId":"other', "x", tenant="other"),
    *escaping("another alphabet", "zażółć 서버 100 %", "zażółć 서버 100 %"),
    *escaping("emoji, DEL, U+2028", "🔥\x7f\u2028", "🔥\x7f\u2028"),
    *escaping("a format's placeholder", "%s %d %n", "%s %d %n"),
    refused(
        "1.3 values",
        "crafted, where a key may come once",
        with_data('x","tenantId":"other'),
        "Error: Elasticsearch request failed: ",
        500,
        options={"doubles": False},
    ),
    *(
        taken(
            "1.3 remedies",
            f"escaped once more: {value!r}",
            body=with_data(json.dumps(value)[1:-1]),
            stored=stored(data=value),
        )
        for value in ('say "hi"', "C:\\Program\n\t\0", '{"a":"b\\"c"}', 'x","tenantId":"other')
    ),
    taken(
        "1.3 remedies",
        "escaped once more, at a server that escapes",
        body=with_data('say \\"hi\\"'),
        stored=stored(data='say \\"hi\\"'),
        options={"mode": "escaped"},
    ),
    taken(
        "1.3 remedies",
        "made harmless",
        body=with_data("say 'hi' C:/Program"),
        stored=stored(data="say 'hi' C:/Program"),
    ),
]

SIZES = [
    taken("1.4 whole body", "exactly the limit", body=sized(LIMIT)),
    Row(fact="1.4 whole body", case="one more", body=sized(LIMIT + 1), status=None),
    Row(
        fact="1.4 whole body",
        case="one more once inflated",
        body=sized(LIMIT + 1),
        headers={"Content-Encoding": "gzip"},
        coded=gzip.compress,
        status=None,
    ),
    taken(
        "1.4 whole body",
        "exactly the limit once inflated",
        body=sized(LIMIT),
        headers={"Content-Encoding": "gzip"},
        coded=gzip.compress,
    ),
    taken(
        "1.4 whole body",
        "exactly the limit, made longer by its compression",
        body=sized(LIMIT),
        headers={"Content-Encoding": "gzip"},
        coded=lambda body: gzip.compress(body, compresslevel=0),
    ),
    Row(fact="1.4 corrupt gzip", case="longer", headers={"Content-Encoding": "gzip"}, status=None),
    refused(
        "1.4 corrupt gzip",
        "very short",
        "abc",
        "Error: No content to map",
        500,
        headers={"Content-Encoding": "gzip"},
    ),
    *(
        row
        for name in ("what", "tags", "data")
        for row in (
            valued("1.4 per field", f"{name}, exactly", name, f'"{"é" * 16_383}"', "é" * 16_383),
            refused(
                "1.4 per field",
                f"{name}, one more",
                f'{{"what":"x","when":NOW,"{name}":"{"é" * 16_383}x"}}',
                "Error: Elasticsearch request failed: ",
                500,
            ),
        )
    ),
    taken(
        "1.4 per field",
        "tags, where they are analysed",
        body=f'{{"what":"x","when":NOW,"tags":"{"a" * 40_000}"}}',
        stored=stored(tags="a" * 40_000),
        options={"index": "analysed"},
    ),
    taken(
        "1.4 per field",
        "measured as it is stored",
        body=with_data("\\n" * 32_766),
        stored=stored(data="\n" * 32_766),
    ),
]

CODES = [
    refused("1.5 500", "empty body", "", "Error: No content to map", 500),
    refused("1.5 500", "null", "null", "Error: ", 500),
    refused("1.5 500", "trailing garbage", f"{EVENT} x", "Error: ", 500),
    refused("1.5 500", "trailing comma", f"{EVENT},", "Error: ", 500),
    refused("1.5 400", "not JSON", "{what:1}"),
    refused("1.5 400", "cut off", '{"what":"x"'),
    refused("1.5 400", "NaN", '{"what":NaN,"when":NOW}'),
    refused(
        "1.5 message texts",
        "2018-04: the status in brackets",
        with_data('"'),
        "Error: Elasticsearch indexing failed with status code: [400]",
        500,
        options={"build": "2018-04"},
    ),
    Row(
        fact="1.6 older builds",
        case="2018-01: a 200 hides the loss",
        body=with_data('"'),
        options={"build": "2018-01"},
    ),
]

ROWS = [*ROUTES, *BODIES, *VALUES, *SIZES, *CODES]

# Facts with tests of their own: the fact, and the test.
ELSEWHERE = {
    "1.1 chunked": "test_a_chunked_body_is_taken",
    "1.1 Expect": "test_a_body_is_asked_for_where_the_client_waits_and_refused_unread_where_it_is_too_long",
    "1.1 keep-alive, pipelining": "test_requests_sent_without_waiting_are_answered_in_their_order",
    "1.2 bounds of the window": "test_the_bounds_of_the_window_belong_to_it",
    "1.2 the server's clock": "test_the_window_and_the_date_go_by_the_far_side_s_clock",
    "1.4 silence keeps the connection": "test_after_silence_the_connection_serves_on",
    "1.5 401": "test_a_token_is_asked_for_and_has_an_end",
    "1.5 403": "test_a_fault_says_what_its_sort_says",
    "1.5 413, 429": "test_the_rate_is_the_tenant_s_and_over_it_is_told_with_a_time",
    "1.5 417": "test_a_body_is_asked_for_where_the_client_waits_and_refused_unread_where_it_is_too_long",
    "1.5 503": "test_a_fault_says_what_its_sort_says",
    "1.5 message texts, Elasticsearch down or busy": "test_each_build_has_its_words_for_what_elasticsearch_did",
    "1.5 none": "test_faults_that_end_without_an_answer_leave_what_they_say",
    "1.6 one client request, ten copies": "test_a_broken_store_keeps_ten_copies_and_says_500",
    "1.6 no dedupe": "test_the_same_event_three_times_is_three_documents",
    "1.8 limits": "test_limits_are_told_and_asking_costs_nothing",
    "2 bounds": "test_bounds_in_milliseconds_are_inclusive",
    "2 forms of a time": "test_what_is_no_row_of_digits_becomes_seconds",
    "2 parameters": "test_at_least_one_parameter_of_any_name",
    "2 visible after a second": "test_a_document_is_found_after_a_while",
    "2 cap and order": "test_no_more_than_the_cap_and_in_no_order",
    "2 tags": "test_tags_match_as_the_index_has_them",
    "2 tenant": "test_a_crafted_event_is_found_under_the_other_tenant",
    "3 body": "test_what_identity_takes_and_refuses",
    "3 answer": "test_identity_gives_a_token_and_a_catalogue",
    "3 the same token": "test_the_same_token_comes_until_its_last_hour_or_a_revocation",
    "3 DELETE": "test_a_token_can_be_ended",
    "3 faults": "test_identity_has_faults_of_its_own",
}

LEFT_OUT = {
    "1.1 default port": "the stand-in takes any free ports; plain HTTP and TLS are both served, for tests of TLS",
    "1.1 whether the hosted proxy passes gzip through": "unknown; it passes here",
    "1.2 no bulk endpoint": "nothing to ask: any other path is 404",
    "1.5 207": "documented for events, sent by no known build",
    "1.5 202": "on metrics routes only, which are not here",
    "1.6 retention": "Elasticsearch's matter",
    "1.7 order": "requests are answered one by one on a connection and at once on several; display order is `when`",
    "1.9 metrics endpoints": "the agent sends none; their paths are 404 here",
}
