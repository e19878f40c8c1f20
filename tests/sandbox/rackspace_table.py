"""
What is known of Blueflood's events route, as rows: a request, the answer, what is stored.

Blueflood at 6557fd4f, read and run against a stand-in for Elasticsearch; the hosted service's documents for the rest.
"""

from __future__ import annotations

import gzip
import zlib

from rackspace_rows import (
    EVENT,
    LIMIT,
    PATH,
    TENANT,
    Row,
    refused,
    route,
    sized,
    stored,
    taken,
    valued,
    with_data,
)
from rackspace_table_bodies import BODIES, VALUES

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
