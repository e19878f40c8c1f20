"""Where NAVER's services are: hosts by zone, and the numbers of regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Zone = Literal["public", "gov", "fin"]

# Cloud Insight API overview, of the public and the government zone; the financial zone's is seen in clients alone.
CLOUD_INSIGHT: Mapping[Zone, str] = {
    "public": "https://cw.apigw.ntruss.com",
    "gov": "https://cw.apigw.gov-ntruss.com",
    "fin": "https://cw.apigw.fin-ntruss.com",
}

# Data Flow API overview; not offered in the other zones.
DATA_FLOW: Mapping[Zone, str] = {"public": "https://dataflow.apigw.ntruss.com"}

# GetRegionList of the Classic Server API. SendData's page names 7 (Singapore) alone.
REGIONS: Mapping[str, int] = {"KR": 1, "USW": 2, "HK": 3, "DE": 6, "SGN": 7, "JPN": 8, "USWN": 9, "DEN": 10}
