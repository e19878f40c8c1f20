"""The page that shows a folder of pictures: static, without a script, and nothing in it that was not escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Protocol
from urllib.parse import quote

from agent.cli.span import Span
from agent.cli.state import printable

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fafafa }
h1 { font-size: 1.4rem; margin: 0 } p { margin: .3rem 0 1.5rem; color: #555 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1.5rem }
figure { margin: 0; padding: .8rem; background: #fff; border: 1px solid #ddd; border-radius: 4px }
img { width: 100%; height: auto; display: block } figcaption { margin-bottom: .5rem; font-weight: 600 }
.failed { color: #a00; font-weight: 400; overflow-wrap: anywhere }
"""


class Shown(Protocol):
    """A widget on the page: its picture's file, or the reason why there is none."""

    @property
    def name(self) -> str: ...

    @property
    def file(self) -> str: ...

    @property
    def problem(self) -> str: ...


def page(name: str, span: Span, resolution: str, made: datetime, pictures: Sequence[Shown]) -> str:
    """The page of a dashboard, for the folder that its pictures are in."""
    title = escape(printable(name))
    failed = sum(bool(each.problem) for each in pictures)
    count = f"{len(pictures) - failed} of {len(pictures)} widgets" if failed else f"{len(pictures)} widgets"
    when = f"{span}, resolution {resolution}; {count}; made {made.isoformat(sep=' ', timespec='seconds')}"
    figures = "\n".join(map(_figure, pictures))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<p>{escape(when)}</p>\n<main>\n{figures}\n</main>\n</body>\n</html>\n"
    )


def _figure(picture: Shown) -> str:
    name = escape(printable(picture.name))
    if picture.problem:
        shown = f'<div class="failed">{escape(printable(picture.problem))}</div>'
    else:
        source = escape(quote(picture.file))
        shown = f'<a href="{source}"><img src="{source}" alt="{name}" width="800" height="600"></a>'
    return f"<figure><figcaption>{name}</figcaption>{shown}</figure>"
