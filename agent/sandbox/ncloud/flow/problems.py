"""What Data Flow itself refuses, by the types of error in its overview."""

from __future__ import annotations


class ProblemError(ValueError):
    """The service will not; `kind` is the errorType."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status, self.kind, self.detail = status, kind, detail


def bad_parameter(detail: str) -> ProblemError:
    """Something in the request is not as it must be."""
    return ProblemError(400, "bad-parameter", detail)


def bad_state(detail: str) -> ProblemError:
    """It would do at another time: the thing is not in a state for it."""
    return ProblemError(400, "bad-state", detail)


def missing(resource: str, **ids: str) -> ProblemError:
    """There is no such job, workflow, trigger or execution."""
    named = ", ".join(f"{name}={value}" for name, value in ids.items())
    return ProblemError(404, f"resource-not-found/{resource}", f"{{{named}}}: Unable to find.")
