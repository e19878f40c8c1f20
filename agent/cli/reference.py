"""
`python -m agent.cli.reference` writes agent.toml.example and docs/configuration.md anew.

A test compares what is on disk with what this would write.
"""

from __future__ import annotations

from pathlib import Path

from agent.cli.example import example
from agent.cli.page import page

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "agent.toml.example"
PAGE = ROOT / "docs" / "configuration.md"


def main() -> None:
    """Write both files."""
    EXAMPLE.write_text(example(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
