"""
The curves as pictures: docs/performance/NAME.svg out of each curve's last sitting.

    python -m benchmarks.plots            needs matplotlib: pip install -e '.[bench]'
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks import table
from benchmarks.curves import CURVES, Curve, kept
from benchmarks.programs import ROOT

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter
except ImportError:
    sys.exit("plots: matplotlib is not installed: pip install -e '.[bench]'")

FOLDER = ROOT / "docs" / "performance"
DECADE = 10
LEFT, RIGHT = "#1f5f99", "#b5532a"

# Text stays text, and the same rows give the same file: a picture that has not changed shows no difference.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})


class Line(NamedTuple):
    """A field of the rows, and how it is drawn."""

    field: str
    label: str
    color: str


PANELS: Mapping[str, Sequence[Line]] = {
    "CPU µs a record": (Line("cpu_us", "CPU", LEFT),),
    "ms until a record has arrived": (Line("p50_ms", "p50", LEFT), Line("p99_ms", "p99", RIGHT)),
    "peak RSS MiB": (Line("rss_mib", "RSS", LEFT),),
}


def drawn(curve: Curve, rows: Sequence[table.Row]) -> Figure:
    """A panel for CPU, latency and memory each: medians, with bars from the least to the most."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        _panel(axes, lines, rows)
        axes.set_title(title, fontsize=9)
    figure.supxlabel(curve.along, fontsize=9)
    return figure


def _panel(axes: Axes, lines: Sequence[Line], rows: Sequence[table.Row]) -> None:
    at = sorted({row["at"] for row in rows})
    for line in lines:
        values = [[row[line.field] for row in rows if row["at"] == x] for x in at]
        middle = [statistics.median(each) for each in values]
        below = [m - min(each) for m, each in zip(middle, values, strict=True)]
        above = [max(each) - m for m, each in zip(middle, values, strict=True)]
        axes.errorbar(
            at, middle, yerr=[below, above], marker="o", markersize=3, capsize=2, label=line.label, color=line.color
        )
    heights = [row[line.field] for line in lines for row in rows]
    # What goes over more than a decade is drawn in decades: a cost in step with its cause is a straight line then.
    if len(lines) == 1 and max(heights) > DECADE * min(heights):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(heights))
    if at[-1] > DECADE * at[0]:
        axes.set_xscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False)


def main() -> None:
    """Draw every curve that was measured."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, curve in CURVES.items():
        rows = kept(curve)
        if not rows:
            print(f"{name}: not measured yet: python -m benchmarks.curves {name}")
            continue
        path = FOLDER / f"{name}.svg"
        drawn(curve, rows).savefig(path, metadata={"Date": None})
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
