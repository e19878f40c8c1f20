"""
What this far side can do wrong on demand, by name: the common faults, and those that only it knows.

A fault's `dataset` is a cw_key; for requests without one, their method and path: `POST /api/v1/jobs/J1/executions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.sandbox import faults
from agent.sandbox.faults import Fault, Stage
from agent.sandbox.ncloud.answers import ERRORS, INVALID


def gateway(code: str, *, stage: Stage = "read", stored: bool = False, details: str = "", **scope: Any) -> Fault:
    """An error of the gateway's table; `stored`: only after all was stored, as a 510 may be."""
    said = details or (INVALID if code == "200" else "")
    return faults.answer("stored" if stored else stage, ERRORS[code][0], code, said, **scope)


def problem(
    kind: str = "bad-state", *, status: int = 400, detail: str = "", stored: bool = False, **scope: Any
) -> Fault:
    """An error of Data Flow's own; `kind` is its errorType."""
    stage: Stage = "stored" if stored else "send"
    return Fault(name="problem", stage=stage, status=status, code=kind, message=detail, **scope)


def result(text: str = "fail", message: str = "", *, stored: bool = False, **scope: Any) -> Fault:
    """200, and a `result` that is not success."""
    stage: Stage = "stored" if stored else "send"
    return Fault(name="result", stage=stage, status=200, code=text, message=message, **scope)


def unconfirmed(body: str = "", *, status: int = 200, stored: bool = True, **scope: Any) -> Fault:
    """A success by its status, and a body that does not say so: empty, or not what was promised."""
    stage: Stage = "stored" if stored else "send"
    return Fault(name="unconfirmed", stage=stage, status=status, message=body, **scope)


BY_NAME: Mapping[str, Callable[..., Fault]] = {
    "answer": faults.answer,
    "gateway": gateway,
    "half_answer": faults.half_answer,
    "hang": faults.hang,
    "problem": problem,
    "reset": faults.reset,
    "result": result,
    "slow": faults.slow,
    "unavailable": faults.unavailable,
    "unconfirmed": unconfirmed,
    "verbatim": faults.verbatim,
}
