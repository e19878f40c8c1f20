"""
NAVER Cloud Platform's API gateway: who is asking (`signature`, `keys`), where (`zones`), and what it says (`answers`).

`Gateway.call(method, target, body)` is all that a client of one of its services needs.
"""

from agent.ncloud.answers import Said, meaning, said, trace_of
from agent.ncloud.gateway import Gateway, open_gateway
from agent.ncloud.keys import Keys, Pair
from agent.ncloud.options import GatewayOptions, gateway_problems
from agent.ncloud.signature import signature
from agent.ncloud.zones import CLOUD_INSIGHT, DATA_FLOW, REGIONS, Zone

__all__ = [
    "CLOUD_INSIGHT",
    "DATA_FLOW",
    "REGIONS",
    "Gateway",
    "GatewayOptions",
    "Keys",
    "Pair",
    "Said",
    "Zone",
    "gateway_problems",
    "meaning",
    "open_gateway",
    "said",
    "signature",
    "trace_of",
]
