"""SendData (`POST /cw_collector/real/data`): where it is, what goes there, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from agent.errors import Retryable
from agent.http import Answer, quoted, worded
from agent.ncloud.answers import trace_of

SEND_DATA = "/cw_collector/real/data"


def body(cw_key: str, rows: Iterable[bytes]) -> bytes:
    """The body of a request (SendData, the array form). The key is text: as a number it would lose its last digits."""
    return b'{"cw_key":"%b","data":[%b]}' % (cw_key.encode(), b",".join(rows))


def unconfirmed(label: str, answer: Answer) -> Retryable | None:
    """
    What is wrong with a success by its status, which alone is none (SendData, "Response body"); None: it is one.

    Which results there are beside "success" is not published. They are about the schema or the key, as far as
    anybody knows: the rows wait for who can mend it.
    """
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = None
    result = said.get("result") if isinstance(said, dict) else None
    if isinstance(result, str) and result.casefold() == "success":
        return None
    if isinstance(said, dict) and "result" in said:
        words = f"the result is {quoted(_as_json(result))}"
        if message := said.get("message"):
            words += f" ({quoted(worded(message).encode(errors='replace'))})"
    else:
        words = "without a result" if answer.body else "with nothing"
    trace = trace_of(answer.headers)
    reason = f"{label}: answered {answer.status}, {words}{f', {trace}' if trace else ''}"
    return Retryable(reason, status=answer.status, answer=quoted(answer.body), ambiguous=True)


def _as_json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # it writes less deep than it reads
        return worded(value).encode(errors="replace")
