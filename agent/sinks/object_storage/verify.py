"""
Proves that objects can be stored: puts a marked one, gets it back, compares, and deletes it.

Its name begins with `_`: a job that reads the bucket meanwhile (Spark, so Data Flow) passes over it.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.errors import AuthExpired, DeliveryError, Unverified
from agent.sinks.object_storage.body import unpacked
from agent.sinks.object_storage.store import Store


async def verified(store: Store, body: bytes, content_type: str, bucket: str, say: Callable[[str], None]) -> str:
    """The evidence that this object was stored. Raises Unverified or a DeliveryError."""
    stored, content = unpacked(body)
    await store.put(stored, content, content_type)
    say(f"the bucket {bucket} took {stored.key}")
    try:
        found = await store.get(stored.key)
    except AuthExpired as error:
        raise Unverified(
            f"{stored.key} was taken, but the keys may not read it back ({error.answer}): it is left there"
        ) from error
    if found != content:
        raise Unverified(f"{stored.key} came back as {len(found)} other bytes than the {len(content)} sent")
    say("it came back byte for byte")
    evidence = f"{stored.key}, {len(content)} bytes, was stored in {bucket} and read back"
    try:
        await store.delete(stored.key)
    except DeliveryError as error:
        return f"{evidence}; it is left there, as it could not be deleted ({error.reason})"
    return f"{evidence}, then deleted"
