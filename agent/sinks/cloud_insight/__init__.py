"""
NAVER Cloud Insight: records become rows of custom schemas, merged by the minute, sent with SendData.

    records ─▸ feeds (which schema, dimensions and metrics) ─▸ rows (rolled up) ─▸ requests ─▸ sending
"""

from agent.sinks.cloud_insight.sink import CloudInsight

__all__ = ["CloudInsight"]
