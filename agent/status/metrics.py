"""The Prometheus text format, version 0.0.4, written by hand: the client library would cost 4.6 MB."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from agent.stats import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NOT_IN_METRIC = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def exposition(samples: Iterable[Sample]) -> bytes:
    """All samples as one page: those of a name stand together under one HELP and one TYPE."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(_name(sample.name, _NOT_IN_METRIC), []).append(sample)
    lines: list[str] = []
    for name, family in families.items():
        meaning = family[0].help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {family[0].kind}"]
        lines += [f"{name}{_labels(sample)} {_number(sample.value)}" for sample in family]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _labels(sample: Sample) -> str:
    if not sample.labels:
        return ""
    return (
        "{" + ",".join(f'{_name(key, _NOT_IN_LABEL)}="{_value(value)}"' for key, value in sample.labels.items()) + "}"
    )


def _name(text: str, wrong: re.Pattern[str]) -> str:
    text = wrong.sub("_", text)
    return f"_{text}" if not text or text[0].isdigit() else text


def _value(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)  # an int stays exact, a float reads back as itself
