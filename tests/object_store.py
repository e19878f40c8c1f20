"""An S3-compatible store on loopback (moto), which checks signatures and rights."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import botocore.session
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "telemetry"


@dataclass
class ObjectStore:
    """The store: who may use it, and what is in its bucket."""

    url: str
    access: str
    secret: str
    client: Any  # botocore's, with all rights

    def names(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects(Bucket=BUCKET).get("Contents", [])]

    def get(self, key: str) -> Mapping[str, Any]:
        found = self.client.get_object(Bucket=BUCKET, Key=key)
        return {**found, "Body": found["Body"].read()}

    def clear(self) -> None:
        for key in self.names():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def user(self, *rights: str, resource: str = "*") -> tuple[str, str]:
        """The keys of another user with these rights."""
        return _user(rights, resource)


def _user(rights: tuple[str, ...], resource: str) -> tuple[str, str]:
    backend = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    name = f"user-{len(backend.users)}"
    backend.create_user("us-east-1", name)
    statement = {"Effect": "Allow", "Action": list(rights), "Resource": resource}
    backend.put_user_policy(name, "rights", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    made = backend.create_access_key(name)
    return made.access_key_id, made.secret_access_key


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A store with an empty bucket. It is of this process: one at a time."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        access, secret = _user(("s3:*",), "*")
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
        _check_requests(url, "0")
        client = botocore.session.get_session().create_client(
            "s3",
            region_name="kr-standard",
            endpoint_url=url,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        try:
            yield ObjectStore(url, access, secret, client)
        finally:
            client.close()
            _check_requests(url, "inf")
    finally:
        server.stop()
        s3_backends.reset()
        iam_backends.reset()


def _check_requests(url: str, after: str) -> None:
    """Whether signatures and rights are checked: after so many requests."""
    asked = Request(f"{url}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"}, method="POST")
    urlopen(asked, timeout=5).close()
