"""
Signs a request for S3: AWS Signature Version 4, by botocore (an extra: `object-storage`).

Object Storage takes it as AWS does (Ncloud API guide, "Object Storage API", Authentication). The key in the URL is
percent-encoded once, all but letters, digits and `-_.~/`, and what is signed is what goes over the wire.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

PACKAGE = "botocore"
INSTALL = 'pip install "botocore>=1.34,<2"'
NO_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


class _Credentials(NamedTuple):
    """What botocore's own class has, which costs a megabyte to load. Never printed."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "***"


def is_installed() -> bool:
    """Whether botocore is there; it is not loaded for that."""
    return importlib.util.find_spec(PACKAGE) is not None


def load() -> None:
    """Load botocore: a tenth of a second, 5 MB. Blocks. Raises ImportError."""
    import botocore.auth
    import botocore.awsrequest  # noqa: F401


def path(bucket: str, key: str) -> str:
    """The path of an object, as it goes over the wire."""
    return f"/{quote(bucket, safe='')}/{quote(key, safe='/')}"


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    sha256: str,
    now: float,
    region: str,
    access_key: str,
    secret_key: str,
) -> dict[str, str]:
    """The headers with those that sign the request; `now`: epoch seconds, by the far side's clock."""
    from botocore.auth import S3SigV4Auth  # `load` has done it, off the event loop
    from botocore.awsrequest import AWSRequest

    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "X-Amz-Date": stamp, "X-Amz-Content-SHA256": sha256}
    auth = S3SigV4Auth(_Credentials(access_key, secret_key), "s3", region)
    request = AWSRequest(method=method, url=url, headers=sent)
    # Step by step: `add_auth` would sign by this machine's clock.
    request.context["timestamp"] = stamp
    text = auth.string_to_sign(request, auth.canonical_request(request))
    names = auth.signed_headers(auth.headers_to_sign(request))
    signature = auth.signature(text, request)
    scope = auth.scope(request)
    return {
        **sent,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}",
    }
