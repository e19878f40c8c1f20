"""Plugins as another package brings them: every kind of option there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.options import secret_in_the_clear
from agent.ports import Limits
from agent.schema import Duration, Secret, Size, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    key: str = option("Where the time stands.", example="t")
    tz: str = option("Its zone.", "")

    def problems(self) -> list[tuple[str, str]]:
        return [("tz", "no such zone")] if self.tz == "Mars" else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Valve:
    name: str = option("Its name.", example="inlet")
    limit: int = option("Its limit.", 5, low=1, high=10)
    clock: Clock | None = option("Its own time.", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """A tank with valves."""

    every: Duration = option("How often.", 10.0, low=1.0, renamed_from="period")
    valves: tuple[Valve, ...] = option("The valves.", ())
    ratio: float = option("A ratio.", 0.5)
    flag: bool = option("A flag.", False)
    level: Literal["low", "high"] | None = option("A level.", None)
    mode: Literal[0, 1, "auto"] = option("A mode.", "auto")
    names: list[str] = option("Names.", factory=list)
    owner: str | Clock = option("A name or a clock.", "nobody")
    limits: Mapping[str, int] = option("Limits.", factory=dict)


class Odd:
    """No dataclass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crate:
    """A crate."""

    url: str = option("Where it stands.", example="https://crates.example.org")
    token: Secret | None = option("A token.", None)
    password: Secret = option("A password.", Secret(), renamed_from="pass")
    size: Size = option("Its size.", 1024, low=10)
    folder: Path = option("A folder.", Path("/var/crates"))
    allow_insecure: bool = option("Whether secrets may be shown to the network.", False)

    @property
    def limits(self) -> Limits:
        return Limits(records=1)

    def problems(self) -> list[tuple[str, str]]:
        return secret_in_the_clear(self.url, self.token, allow_insecure=self.allow_insecure)

    def warnings(self) -> list[tuple[str, str]]:
        return [("size", "is rather small")] if self.size < 100 else []
