"""The options that every client of the gateway takes, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent.http import HttpOptions, option_problems, url_problems
from agent.ncloud.zones import REGIONS, Zone
from agent.schema import Secret, option


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions(HttpOptions):
    """The options that every client of the gateway takes."""

    access_key: Secret = option("Access key of the account, or of a sub account.", example="ACCESS-KEY-ID")
    secret_key: Secret = option("Its secret key.", example="SECRET-KEY")
    zone: Zone = option("Which of NAVER's clouds: for everybody, of the government, or of finance.", "public")
    url: str | None = option(
        "Where the gateway is, in place of the zone's.",
        None,
        default_text="that of the zone",
        example="https://cw.apigw.ntruss.com",
    )
    region_no: int | str | None = option(
        f"Number or name of the region ({', '.join(f'{name} {number}' for name, number in REGIONS.items())}), sent as "
        "X-NCP-REGION_NO. In Singapore it is needed: data without it are taken there and not aggregated.",
        None,
        default_text="not sent",
        example="SGN",
    )
    region_code: str | None = option("Sent as x-ncp-region_code.", None, default_text="not sent", example="KR")
    domain_code: str | None = option("Sent as x-ncp-dmn_cd.", None, default_text="not sent", example="PUB")

    def base(self, hosts: Mapping[Zone, str]) -> str:
        """Scheme, host and port of a service with those hosts."""
        return (self.url or hosts[self.zone]).rstrip("/")

    def headers(self) -> dict[str, str]:
        """What every request says about where it belongs."""
        named = {"x-ncp-region_code": self.region_code, "x-ncp-dmn_cd": self.domain_code}
        if self.region_no is not None:
            named["X-NCP-REGION_NO"] = str(REGIONS.get(str(self.region_no).upper(), self.region_no))
        return {name: value for name, value in named.items() if value}


def gateway_problems(options: GatewayOptions, hosts: Mapping[Zone, str]) -> list[tuple[str, str]]:
    """What is wrong with the options among each other, as (option, text)."""
    problems = option_problems(options)
    for name in ("access_key", "secret_key"):
        if not getattr(options, name):
            problems.append((name, "is empty"))
    if options.url is None and options.zone not in hosts:
        problems.append(("zone", f"this service is in {' and '.join(hosts)} alone"))
    elif options.url is not None:
        wrong = url_problems("url", options.url, options.secret_key, options)
        if not wrong and urlsplit(options.url).path.strip("/"):
            wrong = [("url", "expected the URL without a path: what is signed is the path as the gateway sees it")]
        problems += wrong
    region = options.region_no
    if isinstance(region, str) and not region.isdigit() and region.upper() not in REGIONS:
        problems.append(("region_no", f"expected a number or one of {', '.join(REGIONS)}"))
    for name in ("region_code", "domain_code"):
        text = getattr(options, name)
        if text is not None and not (text.isascii() and text.isalnum()):
            problems.append((name, "expected a code such as KR"))
    return problems
