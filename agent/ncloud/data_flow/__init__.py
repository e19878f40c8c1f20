"""
The client of NAVER Data Flow: every operation of its documents, keyed on paths, since their names moved.

`open_data_flow` gives a DataFlow. What must not be started twice is started by `started` and followed by `followed`.
"""

from agent.ncloud.account import Account, Api
from agent.ncloud.data_flow.bodies import body_problems, run_body
from agent.ncloud.data_flow.client import DataFlow
from agent.ncloud.data_flow.dates import KOREA, epoch_ms, iso, korean, moment
from agent.ncloud.data_flow.following import ENDED, followed, workflow_followed
from agent.ncloud.data_flow.opening import open_data_flow
from agent.ncloud.data_flow.paging import Item
from agent.ncloud.data_flow.refusals import Refused, is_doubtful
from agent.ncloud.data_flow.shapes import BadBody
from agent.ncloud.data_flow.starting import Before, Unconfirmed, before, by_others, execution_id, found, started

__all__ = [
    "ENDED",
    "KOREA",
    "Account",
    "Api",
    "BadBody",
    "Before",
    "DataFlow",
    "Item",
    "Refused",
    "Unconfirmed",
    "before",
    "body_problems",
    "by_others",
    "epoch_ms",
    "execution_id",
    "followed",
    "found",
    "is_doubtful",
    "iso",
    "korean",
    "moment",
    "open_data_flow",
    "run_body",
    "started",
    "workflow_followed",
]
