"""
One HTTP client for every sink, and what a response means for the data.

This is the rim: whatever aiohttp, ssl or the system raise is translated here, once, into DeliveryErrors.
"""

from agent.http.answer import DEFAULT_PAUSE, LONGEST_PAUSE, MAX_ANSWER, MAX_QUOTE, Answer, quoted, refusal, worded
from agent.http.credential import Credential
from agent.http.opening import open_client
from agent.http.options import HttpOptions, option_problems, url_problems

__all__ = [
    "DEFAULT_PAUSE",
    "LONGEST_PAUSE",
    "MAX_ANSWER",
    "MAX_QUOTE",
    "Answer",
    "Credential",
    "HttpOptions",
    "open_client",
    "option_problems",
    "quoted",
    "refusal",
    "url_problems",
    "worded",
]
