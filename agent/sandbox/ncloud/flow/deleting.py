"""What the three deletes answer."""

from __future__ import annotations

from agent.sandbox.ncloud.answers import Answer, value
from agent.sandbox.ncloud.state import State


def done(state: State) -> Answer:
    """A bare true; or 204, which the common table of statuses has."""
    return Answer(status=204, stored=True) if state.settings.deletes_say == "nothing" else value(True, stored=True)
