"""
Faults of the operating system under an unchanged agent, from the harness's side.

    injection = Injection(folder / "faults")
    with stage.scene(env=injection.env) as scene:
        injection.arm(Rule(call="fdatasync", at="*.seg", do="kill", when="after", nth=5))
        ...                                     # the agent is killed, and takes no harm after a new start:
        injection.disarm()

Rules come into force, and end, while the agent runs. What Rule can do stands in underneath/rules.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faults.inject.underneath.rules import Rule

HERE = Path(__file__).parent


class Injection:
    """The control file of one agent's process, and what has struck it."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._control = folder / "control.json"
        self._journal = folder / "journal"
        self._said: dict[str, Any] = {"seed": seed}
        self._put()

    @property
    def env(self) -> dict[str, str]:
        """What the agent's process needs in its environment, beside the harness's own."""
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        return {"FAULTS": str(self._control), "PYTHONPATH": path}

    def arm(self, *rules: Rule) -> None:
        """These rules from now on, in place of those before; they begin to count anew."""
        self._said["rules"] = [asdict(rule) for rule in rules]
        self._put()

    def disarm(self) -> None:
        """No rules any more."""
        self.arm()

    def set_clock(self, offset: float) -> None:
        """The wall clock shows so many seconds more than it is. Rules begin to count anew."""
        self._said["offset"] = offset
        self._put()

    def pass_time(self, seconds: float) -> None:
        """So many seconds pass at once for timers. Who sleeps sees it when something wakes it. Rules count anew."""
        self._said["passed"] = self._said.get("passed", 0.0) + seconds
        self._put()

    def set_names(self, names: Mapping[str, Sequence[str]]) -> None:
        """These names lead to these addresses, none of them: there is no such name. Rules begin to count anew."""
        self._said["names"] = {name: list(addresses) for name, addresses in names.items()}
        self._put()

    def keep_journal(self, top: Path) -> None:
        """Processes that start from now on keep a journal of what they do below that directory (powercut.py)."""
        self._said["journal"] = {"top": str(top), "file": str(self._journal)}
        self._put()

    def end_journal(self) -> None:
        """Processes that start from now on keep none."""
        self._said.pop("journal", None)
        self._put()

    def journal(self, pid: int) -> Path:
        """The journal of that process."""
        return self._journal.with_name(f"{self._journal.name}.{pid}")

    def hits(self) -> list[dict[str, Any]]:
        """What has struck so far, in order, over all processes."""
        path = self._control.with_name(f"{self._control.name}.hits")
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def _put(self) -> None:
        draft = self._control.with_suffix(".new")
        draft.write_text(json.dumps(self._said))
        draft.replace(self._control)


__all__ = ["Injection", "Rule"]
