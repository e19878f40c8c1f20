"""
The key of a schema: written in the configuration, or in a file that `cloud-insight schema create` writes.

What is in the file is looked up when rows are sent: until it is there they wait, and no restart is needed then. Until
then rows are kept under the file's name, `file:PATH`, in place of the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent.aside import aside
from agent.errors import Retryable

KEY = 'expected text in quotes, such as "460438474722512896"'
MADE_BY = '"telemetry-agent cloud-insight schema create" makes the schema and writes it'
WITHIN = 10.0  # seconds for a file that may be on a network mount

_FILE = "file:"


class NoKey(Retryable):
    """The file of a schema's key is not there, or holds none. It concerns that schema alone."""


def named(key: str | int | None, file: Path | None) -> str:
    """A key as rows are kept under it: its digits, or the file they will be in."""
    return f"{_FILE}{file}" if file is not None else "" if key is None else str(key)


async def resolved(key: str) -> str:
    """The digits of a key that rows are kept under. Raises NoKey where its file does not have them."""
    if not key.startswith(_FILE):
        return key
    path = Path(key.removeprefix(_FILE))
    try:
        return await aside(partial(read, path), kind=path, within=WITHIN)
    except FileNotFoundError as error:
        raise NoKey(f"cw_key_file {path} is not there: {MADE_BY}", operator=True) from error
    except OSError as error:
        raise NoKey(f"cw_key_file {path} cannot be read: {error.strerror or error}", operator=True) from error
    except ValueError as error:
        raise NoKey(f"cw_key_file {path}: {error}", operator=True) from error


def read(path: Path) -> str:
    """The digits in a file. Raises OSError, or ValueError where they are none."""
    text = path.read_text(encoding="utf-8").strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError("expected the digits of a cw_key alone")
    return text


def key_problems(option: str, key: str | int | None) -> list[tuple[str, str]]:
    """What is wrong with a cw_key."""
    if isinstance(key, int):
        return [(option, f"{KEY}, found a number: it has 18 digits, and JSON tools keep 16 of a number's")]
    if key is not None and not (key.isascii() and key.isdigit()):
        return [(option, f"{KEY}: digits alone")]
    return []


def file_problems(key: str | int | None, file: Path | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a cw_key_file. That it is not there yet is no mistake."""
    if file is None:
        return
    if key is not None:
        yield "cw_key_file", "give cw_key or cw_key_file, not both"
    elif not str(file).isprintable() or set('"\\') & set(str(file)):
        yield "cw_key_file", "expected a path without quotes, backslashes and line breaks"
    else:
        try:
            read(file)
        except FileNotFoundError:
            pass
        except OSError as error:
            yield "cw_key_file", f"{file} cannot be read: {error.strerror or error}"
        except ValueError:
            yield "cw_key_file", f"{file}: expected the digits of a cw_key alone"


def file_warnings(file: Path | None) -> list[tuple[str, str]]:
    """That it is not there yet."""
    if file is None or file.exists():
        return []
    return [("cw_key_file", f"{file} is not there yet, and rows wait for it: {MADE_BY}")]
