"""The options of the Rackspace sink, what can be wrong with them, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from agent.http import HttpOptions, option_problems, url_problems
from agent.schema import OneOrMore, Secret, option
from agent.sinks.rackspace.texts import PLACES, Texts, is_place
from agent.template import Template

IDENTITY_URL = "https://identity.api.rackspacecloud.com"
TENANT_LIMIT = 1000  # requests a minute, of all agents of a tenant together (docs.rackspace.com, metrics-limits)
# Sources of which every sample is a record: one of them alone fills an event a second.
BULK = ("host.cpu", "mqtt.a/b", "self.spool")
_TENANT = re.compile(r"[A-Za-z0-9_-]+|hybrid:[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RackspaceOptions(HttpOptions):
    """What [sinks.NAME] takes with type = "rackspace"."""

    tenant: str = option("The tenant's id, as it stands in the path of the API.", example="123456")
    url: str | None = option(
        "Where events are posted, without /v2.0; needed for a Blueflood of your own.",
        None,
        default_text="the hosted service, as Rackspace Identity's catalog has it",
        example="http://127.0.0.1:19000",
        in_example=True,
    )
    query_url: str | None = option(
        "Where events are read, without /v2.0: for `escape` = `auto` and verify-delivery. Blueflood reads on a port of "
        "its own.",
        None,
        default_text="the hosted service with username, else none",
        example="http://127.0.0.1:20000",
    )
    username: str | None = option(
        "User name at Rackspace, for the hosted service.", None, default_text="none: no token is sent", example="fleet"
    )
    api_key: Secret | None = option(
        "The user's API key.", None, default_text="none", example="credential:rackspace-api-key"
    )
    identity_url: str = option("Rackspace Identity, without /v2.0.", IDENTITY_URL)
    what: OneOrMore = option(
        "Template of the event's text; of several the first that does not come out blank. Places: {source}, {ts} "
        "(milliseconds), {time}, {id} (the record's), {host}, {tags.NAME}, {fields.NAME}; as JSON {tags}, {fields}, "
        "{record}; and {pairs}, which is every tag and field but `what` as name=value.",
        ("{fields.what}", "{source}"),
    )
    tags: str = option(
        "Template of the event's tags. Runs of blanks become one.", "{host} {fields.rule} {fields.state}"
    )
    data: str = option("Template of the event's data.", "id={id}, {pairs}")
    rate: int = option(
        "Most requests a minute. The service's own limit, 1,000, is the tenant's: all its agents share it.",
        60,
        low=1,
        high=60_000,
    )
    escape: Literal["auto", "json", "replace", "none"] = option(
        "How values with quotation marks, backslashes and control characters are sent. Blueflood since 2018 puts them "
        "into its documents as they are: `json` escapes them once more, which comes out right there; `none` is for "
        "older servers; `replace` is safe with any (' for a quotation mark, / for a backslash, a blank for a control "
        "character); `auto` posts one marked event when it first matters, and reads back what became of it.",
        "auto",
    )
    outside_window: Literal["dead_letter", "restamp"] = option(
        "What becomes of events older than 3 days or more than 10 minutes ahead, which the service refuses: a "
        "`dead_letter`; or `restamp` gives them the present time, and the data names their own.",
        "dead_letter",
    )

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the options among each other."""
        problems = option_problems(self)
        if self.url is None and not self.username:
            problems.append(("url", "needed for a Blueflood of your own; for the hosted service, username and api_key"))
        urls = {"url": self.url, "query_url": self.query_url} | (
            {"identity_url": self.identity_url} if self.username else {}
        )
        for name, url in urls.items():
            if url is None:
                continue
            problems += url_problems(name, url, self.api_key, self)
            if "/v2.0" in url or "/v1.0" in url:
                problems.append((name, "expected the URL without the path of the API, which is added to it"))
        if not _TENANT.fullmatch(self.tenant):
            problems.append(("tenant", 'expected letters, digits, _ and -, or "hybrid:" and digits'))
        if self.username and not self.api_key:
            problems.append(("api_key", "needed with username"))
        elif self.api_key and not self.username:
            problems.append(("username", "needed with api_key"))
        if not self.what:
            problems.append(("what", "expected at least one template: the service refuses events without a text"))
        for name, texts in (("what", self.what), ("tags", (self.tags,)), ("data", (self.data,))):
            problems += [(name, trouble) for text in texts if (trouble := _trouble(text))]
        return problems

    def selection_warnings(self, select: Sequence[str]) -> list[tuple[str, str]]:
        """What is doubtful about records of these sources going here: an event each, at `rate`."""
        wide = [glob for glob in select if glob.startswith("host.") or any(fnmatchcase(each, glob) for each in BULK)]
        if not wide:
            return []
        a_day = f"{self.rate * 1440:,}"
        text = f'"{wide[0]}" takes in every sample, and at rate = {self.rate} this sink sends {a_day} events a day'
        return [("select", f"{text}: what comes faster waits in the spool until it is too old")]

    def outlook(self, tags: Mapping[str, str]) -> list[str]:
        """What sending will cost at the far side, for `check`."""
        lines = [f"at most {self.rate:,} events a minute, {self.rate * 1440:,} a day, one request each"]
        if self.username and self.rate <= TENANT_LIMIT:
            agents = TENANT_LIMIT // self.rate
            lines.append(f"the tenant's limit of {TENANT_LIMIT:,} requests a minute is that of {agents} such agents")
        elif self.username:
            lines.append(f"more than the tenant's limit of {TENANT_LIMIT:,} requests a minute, unless it was raised")
        if self.escape == "auto" and not self.query_url and not self.username:
            lines.append(
                "without query_url `auto` cannot find out how values are escaped: they are sent as by `replace`"
            )
        return lines

    @property
    def templates(self) -> Texts:
        """The templates, read."""
        what = tuple(Template.parse(text) for text in self.what)
        return Texts(what, Template.parse(self.tags), Template.parse(self.data))


def _trouble(text: str) -> str:
    """What is wrong with a template, "" if nothing."""
    try:
        unknown = sorted(name for name in Template.parse(text).names if not is_place(name))
    except ValueError as error:
        return str(error)
    if not unknown:
        return ""
    listed = ", ".join(f"{{{name}}}" for name in PLACES)
    return f"{{{unknown[0]}}} is no place: there are {listed}, {{tags.NAME}} and {{fields.NAME}}"
