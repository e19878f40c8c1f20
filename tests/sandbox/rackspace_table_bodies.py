"""What is known of Blueflood's events route: the bodies it takes, and what it makes of their values."""

from __future__ import annotations

import json

from rackspace_rows import EVENT, OUT_OF_BOUNDS, Row, bounds, escaping, refused, stored, taken, valued, with_data

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
