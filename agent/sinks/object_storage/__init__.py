"""Objects of newline-delimited JSON in NAVER Object Storage, or any store that speaks S3."""

from agent.sinks.object_storage.sink import ObjectStorage

__all__ = ["ObjectStorage"]
