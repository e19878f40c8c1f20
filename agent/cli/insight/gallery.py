"""The pictures of a whole dashboard in a folder, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.cli import progress
from agent.cli.insight import files, index_page
from agent.cli.insight.png import picture
from agent.cli.refused import code_of
from agent.cli.span import Span
from agent.delivery.episode import describe
from agent.errors import DeliveryError, Retryable
from agent.ncloud.cloud_insight import CloudInsight, Dashboard, Resolution, Widget
from agent.service.exits import Exit

INDEX = "index.html"
MOST_IN_A_ROW = 3  # widgets for which the service did not answer: each of them was waited for a minute already
_NOT_ASKED = "not asked for, as the service did not answer for those before it"
_SILENCE = (None, 429, 502, 503, 504)  # statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A widget, and its file or the reason why there is none."""

    id: str
    name: str
    file: str = ""
    bytes: int = 0
    problem: str = ""
    code: Exit = Exit.OK
    is_silence: bool = False  # it is not about this widget: the service did not answer, or wants a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What a folder holds."""

    name: str
    folder: Path
    span: Span
    pictures: Sequence[Picture] = field(default_factory=list)

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def failed(self) -> list[Picture]:
        """Those without a file."""
        return [each for each in self.pictures if each.problem]

    @property
    def code(self) -> Exit:
        """How to end: the first failure says it."""
        return next((each.code for each in self.failed), Exit.OK)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        said = {"dashboard": self.name, "index": str(self.index), "from": self.span.start_ms, "to": self.span.end_ms}
        shown = [
            {"id": each.id, "name": each.name, "file": each.file, "bytes": each.bytes, "error": each.problem}
            for each in self.pictures
        ]
        return {**said, "widgets": shown}


async def collected(
    client: CloudInsight,
    board: Dashboard,
    widgets: Sequence[Widget],
    span: Span,
    resolution: Resolution,
    folder: Path,
) -> Gallery:
    """
    Save the picture of each widget, one after the other, and the index at the end.

    How many requests the service takes is not published, so there is never more than one under way, and once it does
    not answer at all the rest are not asked for. Raises OSError where the folder takes nothing.
    """
    pictures: list[Picture] = []
    silent = 0
    gallery = Gallery(name=board.name, folder=folder, span=span, pictures=pictures)
    digits = max(2, len(str(len(widgets))))
    with progress.shown("pictures", len(widgets)) as show:
        for number, widget in enumerate(widgets, 1):
            # The number keeps names apart that differ in nothing a file's name may have.
            path = folder / f"{number:0{digits}}-{files.file_name(widget.name)}.png"
            if silent == MOST_IN_A_ROW:
                found = Picture(id=widget.id, name=widget.name, problem=_NOT_ASKED, code=Exit.UNAVAILABLE)
            else:
                found = await _saved(client, widget, span, resolution, path)
                silent = silent + 1 if found.is_silence else 0
            pictures.append(found)
            show(number)
    page = index_page.page(board.name, span, resolution, datetime.now().astimezone(), pictures)
    files.write(gallery.index, page.encode())
    return gallery


async def _saved(client: CloudInsight, widget: Widget, span: Span, resolution: Resolution, path: Path) -> Picture:
    try:
        data = await picture(client, widget.dashboard, widget.id, span, resolution)
    except DeliveryError as error:
        # One of an earlier day under the same name would be taken for this one's.
        files.remove(path)
        silence = isinstance(error, Retryable) and error.status in _SILENCE
        code = code_of(error)
        return Picture(id=widget.id, name=widget.name, problem=describe(error), code=code, is_silence=silence)
    files.write(path, data)
    return Picture(id=widget.id, name=widget.name, file=path.name, bytes=len(data))
