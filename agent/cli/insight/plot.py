"""Values over time, drawn in a terminal. Loaded where something is drawn: nothing else needs the library."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime

import plotille

from agent.cli.span import Span

HEIGHT = 14  # lines
_BESIDE = 16  # columns that the labels take
_NARROWEST = 20
_BEYOND = 0.02  # of the span, on either side: a point on the very edge would not be drawn
_DAY_MS = 86_400_000


def drawn(points: Sequence[tuple[int, float]], span: Span, metric: str) -> str:
    """A picture of the points (ms, value) within the time that was asked about, as wide as the terminal."""
    figure = plotille.Figure()
    figure.width = max(_NARROWEST, shutil.get_terminal_size().columns - _BESIDE)
    figure.height = HEIGHT
    figure.with_colors = False
    figure.origin = False
    figure.x_label, figure.y_label = "time", metric
    beyond = (span.end_ms - span.start_ms) * _BEYOND
    figure.set_x_limits(span.start_ms - beyond, span.end_ms + beyond)
    times, values = [at for at, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    figure.set_y_limits(low - margin, high + margin)
    pattern = "%H:%M:%S" if span.end_ms - span.start_ms <= _DAY_MS else "%m-%d %Hh"
    figure.x_ticks_fkt = lambda low, _: datetime.fromtimestamp(low / 1000).astimezone().strftime(pattern)
    figure.y_ticks_fkt = lambda low, _: f"{low:10.4g}"
    if len(points) > 1:
        figure.plot(times, values)
    else:
        figure.scatter(times, values, marker="x")
    text: str = figure.show()
    return text
