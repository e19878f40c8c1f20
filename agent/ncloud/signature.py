"""Signature version 2 of NAVER's API gateway (Ncloud API guide, "Call API"; the header x-ncp-apigw-signature-v2)."""

from __future__ import annotations

import hmac
from base64 import b64encode


def signature(method: str, target: str, timestamp_ms: int, access_key: str, secret_key: str) -> str:
    """
    What proves that a request is ours: base64 of an HMAC-SHA256 under the secret key.

    `target` is the path with its query exactly as it goes over the wire; nothing is sorted or escaped. Neither
    body nor headers are signed, so a body may be written anew, and a request is signed anew at every try.
    """
    text = f"{method} {target}\n{timestamp_ms}\n{access_key}"
    return b64encode(hmac.new(secret_key.encode(), text.encode(), "sha256").digest()).decode()
