"""`[ncloud]`: whose account it is that Data Flow's jobs run in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.ncloud.options import GatewayOptions, gateway_problems
from agent.ncloud.zones import DATA_FLOW
from agent.schema import option

# Data Flow's pages of 2023 to 2025 update a job by PUT, those since September 2026 by PATCH.
Api = Literal["2026", "2024"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(GatewayOptions):
    """The account at NAVER Cloud that `[[dataflow]]` and the `dataflow` commands work in."""

    url: str | None = option(
        "Where Data Flow's gateway is, in place of the zone's.",
        None,
        default_text="that of the zone",
        example="https://dataflow.apigw.ntruss.com",
    )
    api: Api = option(
        'Which of Data Flow\'s interfaces is spoken: that of its pages since autumn 2026, or the one before ("2024").',
        "2026",
    )

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the options among each other."""
        return gateway_problems(self, DATA_FLOW)
