"""The `[[dataflow]]` tables, `[ncloud]` that they need, and what can be wrong with them beside the sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.config.document import Unreadable
from agent.config.messages import did_you_mean, found
from agent.config.places import Place
from agent.config.reading import Reading
from agent.config.settings import Agent
from agent.dataflow.rule import Rule

if TYPE_CHECKING:
    from agent.ncloud.account import Account, Api

Rules = Mapping[int, Rule]  # by their place among the tables; those that leave nothing to check are left out

STORES = "object_storage"  # the type of the sinks whose objects Data Flow can read


def read_account(reading: Reading) -> Account | None:
    """`[ncloud]`; None where there is none, or its mistakes leave nothing."""
    if "ncloud" not in reading.document.tree:
        return None
    from agent.ncloud.account import Account  # with an HTTP client behind it, which not every agent needs

    return reading.table(Account, reading.document.tree["ncloud"], ("ncloud",))


def read_rules(reading: Reading) -> Rules:
    """The rules, as far as they can be read."""
    listed = reading.document.tree.get("dataflow", [])
    if not isinstance(listed, list):
        if not isinstance(listed, Unreadable):
            reading.bad(("dataflow",), f"expected tables such as [[dataflow]], found {found(listed)}")
        return {}
    rules: dict[int, Rule] = {}
    for n, table in enumerate(listed):
        rule = reading.table(Rule, table, ("dataflow", n))
        if rule is not None:
            rules[n] = rule
    return rules


def check_rules(
    rules: Rules, agent: Agent | None, account: Account | None, kinds: Mapping[str, str], reading: Reading
) -> None:
    """What the rules have wrong among each other and beside the rest; `kinds`: the type of each sink by its name."""
    names: dict[str, int] = {}
    targets: dict[str, dict[str, int]] = {"job": {}, "workflow": {}}
    for n, rule in rules.items():
        _check_own(names, rule.name, ("dataflow", n, "name"), "name", reading)
        if rule.id:
            # What one rule has started could not be told from what the other has.
            _check_own(targets[rule.kind], rule.id, ("dataflow", n, rule.kind), rule.kind, reading)
        _check_sink(rule, ("dataflow", n, "sink"), kinds, reading)
    if not rules:
        return
    if "ncloud" not in reading.document.tree:
        place: Place = ("dataflow", min(rules))
        reading.bad(place, "needs [ncloud], which is missing: its access_key and secret_key are those of the account")
    elif account is not None:
        for n, rule in rules.items():
            _check_body(n, rule, account.api, reading)
    if agent is not None and agent.role != "leader":
        written = "role" in reading.document.tree.get("agent", {})
        place = ("agent", "role") if written else ("dataflow", min(rules))
        reading.doubtful(
            place,
            f'rules run only where [agent] has role = "leader", and this agent is a member: {_listed(rules)} '
            f"{'do' if len(rules) > 1 else 'does'} not run here",
        )


def _listed(rules: Rules) -> str:
    return ", ".join(rule.name for rule in rules.values())


def _check_own(taken: dict[str, int], value: str, place: Place, what: str, reading: Reading) -> None:
    n = place[1]
    if reading.is_faulty(place) or not isinstance(n, int):
        return
    first = taken.setdefault(value, n)
    if first != n:
        where = reading.document.where(("dataflow", first, what))
        reading.bad(place, f'expected a {what} of its own, found "{value}", which is that of {where}')


def _check_sink(rule: Rule, place: Place, kinds: Mapping[str, str], reading: Reading) -> None:
    if reading.is_faulty(place) or reading.is_faulty(("sinks",)):
        return
    kind = kinds.get(rule.sink)
    able = [name for name, each in kinds.items() if each == STORES]
    if kind is None:
        near = did_you_mean(rule.sink, able)
        reading.bad(place, f'expected the name of a sink of the type {STORES}, found "{rule.sink}"{near}')
    elif kind != STORES:
        others = f"; there is {', '.join(able)}" if able else ""
        reading.bad(place, f'expected a sink of the type {STORES}, found "{rule.sink}" of the type {kind}{others}')


def _check_body(n: int, rule: Rule, api: Api, reading: Reading) -> None:
    """What Data Flow would refuse of what a job is started with."""
    from agent.ncloud.data_flow.bodies import body_problems, run_body

    if rule.kind == "job" and not reading.is_faulty(("dataflow", n)):
        place: Place = ("dataflow", n) if rule.job_condition is None else ("dataflow", n, "job_condition")
        condition = rule.job_condition
        body = run_body(api, None if condition is None else condition.body, rule.parameters)
        for problem in body_problems("run_job", body or {}, api):
            reading.bad(place, f'{problem.where} {problem.text} (ncloud.api = "{api}")')
