"""How a command ends that asked a far side for something and did not get it."""

from __future__ import annotations

from agent.errors import AuthExpired, DeliveryError, Rejected
from agent.ncloud import Unreadable
from agent.service.exits import Exit, exit_code

COME_AND_GO = {408, 425, 429}  # statuses below 500 that say nothing about what was asked


def code_of(error: DeliveryError) -> Exit:
    """How a command ends on it: that what was asked is refused is another thing than that nobody answers."""
    if isinstance(error, AuthExpired) or error.status in COME_AND_GO:
        return exit_code(error)
    is_never_sent = error.status is None and isinstance(error, Rejected) and not isinstance(error, Unreadable)
    return Exit.REFUSED if is_never_sent or (error.status or 0) // 100 == 4 else exit_code(error)
