"""Configurations as files in a directory of their own, read as the agent reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agent.config import Config, load
from agent.errors import ConfigError

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

BASE = '[collectors.me]\ntype = "tank"\n[sinks.out]\ntype = "stdout"\n'


@pytest.fixture(autouse=True)
def _foreign_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package with plugins is installed."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "foreign")


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`read(text)` loads agent.toml with that text."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, environ: Mapping[str, str] | None = None, *, base: bool = False) -> Config:
        Path("agent.toml").write_text(textwrap.dedent(text) + (BASE if base else ""))
        return load([Path("agent.toml")], environ or {})

    return read


@pytest.fixture
def problems(read: Load) -> Problems:
    """`problems(text)` gives the lines that refuse it."""

    def problems(text: str, environ: Mapping[str, str] | None = None, *, base: bool = False) -> list[str]:
        with pytest.raises(ConfigError) as refused:
            read(text, environ, base=base)
        return str(refused.value).splitlines()

    return problems
