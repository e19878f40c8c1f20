"""
NAVER Cloud Platform's API gateway: who is asking (`signature`, `keys`), where (`zones`), and what it says (`answers`).

`Gateway.call(method, target, body)` is all that a client of one of its services needs; for those who can wait there is
`asked`, over a `target`, which tries again where that does no harm. `cloud_insight` and `data_flow` are the services'
clients.
"""

from agent.ncloud.answers import Said, meaning, said, trace_of
from agent.ncloud.asking import Say, Unreadable, asked, fetched, quiet
from agent.ncloud.gateway import Gateway, open_gateway
from agent.ncloud.keys import Keys, Pair
from agent.ncloud.options import GatewayOptions, gateway_problems
from agent.ncloud.send_data import SEND_DATA
from agent.ncloud.signature import signature
from agent.ncloud.targets import segment, target
from agent.ncloud.zones import CLOUD_INSIGHT, DATA_FLOW, REGIONS, Zone

__all__ = [
    "CLOUD_INSIGHT",
    "DATA_FLOW",
    "REGIONS",
    "SEND_DATA",
    "Gateway",
    "GatewayOptions",
    "Keys",
    "Pair",
    "Said",
    "Say",
    "Unreadable",
    "Zone",
    "asked",
    "fetched",
    "gateway_problems",
    "meaning",
    "open_gateway",
    "quiet",
    "said",
    "segment",
    "signature",
    "target",
    "trace_of",
]
