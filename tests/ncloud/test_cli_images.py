"""`cloud-insight dashboards`, `widgets` and `image`: pictures as files, and nothing else as a picture."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from insight_account import CW_KEY, _no_log_set_up, _served, account, command, config, store
from PIL import Image

from agent.cli.insight.files import file_name, write
from agent.cli.insight.png import flaw
from agent.sandbox.ncloud import Sandbox
from agent.sandbox.ncloud.pictures import chart

__all__ = ["_no_log_set_up", "_served", "account", "config"]

NOON = 1_763_607_600_000
SPAN = ("--from", str(NOON), "--to", str(NOON + 3_600_000))
WHOLE = chart([(NOON, 1.0), (NOON + 60_000, 2.0)], NOON, NOON + 3_600_000)


def widget(id: str, name: str, metric: str = "cpu") -> dict[str, Any]:
    return {"id": id, "name": name, "cw_key": CW_KEY, "metric": metric}


def board(id: str, name: str, *widgets: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "name": name, "widgets": list(widgets)}


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        picture.load()
        return (picture.format, picture.size) == ("PNG", (800, 600))


class Page(HTMLParser):
    """What a browser makes of an index: text, pictures and their links, and each tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str | None] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(unquote(dict(attrs)["src"] or ""))
            self.alts.append(dict(attrs)["alt"])

    def handle_data(self, data: str) -> None:
        self.text += [data.strip()] if data.strip() else []


def test_dashboards_and_widgets_are_listed(account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account.settings.change({"dashboards": [board("b1", "Fleet", widget("w1", "CPU")), board("b2", "Em\x1b[2Jpty")]})
    assert command("dashboards", "--config", config) == 0
    assert capsys.readouterr().out == "id  name\nb1  Fleet\nb2  Em\\x1b[2Jpty\n"
    assert command("widgets", "Fleet", "--config", config) == 0
    assert capsys.readouterr().out == "id  name\nw1  CPU\n"
    assert command("widgets", "b2", "--config", config) == 0
    assert capsys.readouterr().out == "no widgets in Em\\x1b[2Jpty\n"
    assert command("dashboards", "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)[0] == {"id": "b1", "name": "Fleet"}
    assert command("widgets", "b1", "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out) == [{"dashboard": "b1", "id": "w1", "name": "CPU"}]
    account.settings.change({"dashboards": []})
    assert command("dashboards", "--config", config) == 0
    assert capsys.readouterr().out == "no dashboards\n"


def test_from_a_fresh_account_a_picture_of_the_stored_values_is_saved(
    account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for minute in range(3):
        store(account, NOON + minute * 60_000, {"cpu": minute * 10.0})
    file = tmp_path / "cpu.png"
    file.write_text("of an earlier day")
    chosen = ("Sandbox", "cpu (Custom/Fleet)", "-o", file)
    assert command("image", *chosen, *SPAN, "--config", config) == 0
    assert capsys.readouterr().out.startswith(f"{file}: cpu (Custom/Fleet), 20")
    assert is_picture(file)
    points = [(NOON + minute * 60_000, minute * 10.0) for minute in range(3)]
    assert file.read_bytes() == chart(points, NOON, NOON + 3_600_000)
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".toml"] == ["cpu.png"], "no draft stays"
    day = ("--from", str(NOON), "--to", str(NOON + 86_400_000))
    assert command("image", *chosen, *day, "--resolution", "HIGH", "--json", "--config", config) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["bytes"], said["from"]) == (str(file), file.stat().st_size, NOON)
    assert [each.target.rpartition("=")[2] for each in account.requests if "?" in each.target] == ["AUTO", "HIGH"]


def test_without_a_name_the_file_has_the_widgets(
    account: Sandbox, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    account.settings.change({"dashboards": [board("b", "B", widget("버킷/bucket size", "../../디스크 사용량"))]})
    assert command("image", "B", "버킷/bucket size", "--last", "1h", "--config", config) == 0
    assert is_picture(tmp_path / "here" / "디스크_사용량.png")
    (target,) = [each.target for each in account.requests if "?" in each.target]
    assert "/widgets/%EB%B2%84%ED%82%B7%2Fbucket%20size?startTime=" in target


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("error", "expected a PNG, found"),
        ("html", "expected a PNG, found"),
        ("empty", "expected a PNG, found 0 bytes"),
        ("torn", "the picture is not whole: it ends after"),
    ],
)
def test_what_is_not_a_whole_png_is_not_saved(
    kind: str, told: str, account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.settings.change({"image": kind})
    before = {path.name for path in tmp_path.iterdir()}
    words = ("Sandbox", "mem (Custom/Fleet)", "-o", tmp_path / "mem.png", *SPAN)
    assert command("image", *words, "--json", "--config", config) == 69
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_picture_may_be_larger_than_other_answers(account: Sandbox, config: Path, tmp_path: Path) -> None:
    account.settings.change({"image": "large"})
    file = tmp_path / "large.png"
    assert command("image", "Sandbox", "mem (Custom/Fleet)", "-o", file, *SPAN, "--config", config) == 0
    assert file.stat().st_size > 400_000
    assert is_picture(file)


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(account: Sandbox, config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "file.png")
    assert command("image", "Sandbox", "mem (Custom/Fleet)", "-o", link, *SPAN, "--config", config) == 0
    assert link.is_symlink()
    assert is_picture(tmp_path / "file.png")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("Fleet",), 64, "expected a widget, or --all; `cloud-insight widgets DASHBOARD` lists them"),
        (("Fleet", "CPU", "--all", "-o", "."), 64, "expected a widget or --all, found both"),
        (("Fleet", "--all"), 64, "expected -o FOLDER with --all"),
        (("Fleet", "CPU", "-o", "."), 64, ".: expected a file's name, found something that is no file"),
        (("Fleet", "CPU", "--resolution", "best"), 64, "--resolution: expected one of auto, high, found 'best'"),
        (("Feet", "CPU"), 65, "no dashboard 'Feet'; there are Fleet, Twin, Twin; did you mean Fleet?"),
        (("Twin", "CPU"), 64, "2 dashboards have the name 'Twin': give one of their ids, t1, t2"),
        (("b", "RAM"), 65, "no widget 'RAM'; there are CPU"),
        (("t1", "CPU"), 65, "no widget 'CPU'; there is none"),
        (("Fleet", "CPU", "-o", "none/a.png"), 74, "none/a.png: the picture was not saved: No such file or directory"),
        (("Fleet", "--all", "-o", "/dev/null"), 74, "/dev/null: the pictures were not saved: File exists"),
    ],
)
def test_what_is_not_there_is_said(
    words: tuple[str, ...], code: int, told: str, account: Sandbox, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.settings.change(
        {"dashboards": [board("b", "Fleet", widget("w", "CPU")), board("t1", "Twin"), board("t2", "Twin")]}
    )
    assert command("image", *words, "--config", config) == code
    assert told in capsys.readouterr().err


NAMES = ["../../x", "/etc/passwd", "<script>alert(1)</script>", 'a"b&c', "디스크", "..", "디스크", "a\0b\n" + "x" * 300]


def test_a_dashboard_becomes_a_folder_with_an_index(
    account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widgets = [widget(f"w{number}", name) for number, name in enumerate(NAMES)]
    account.settings.change({"dashboards": [board("b", "<b>Fleet & more", *widgets)]})
    folder = tmp_path / "made" / "pictures"
    assert command("image", "b", "--all", "-o", folder, *SPAN, "--config", config) == 0
    assert capsys.readouterr().out.startswith(f"{folder}/index.html: 8 of 8 widgets of <b>Fleet & more, 20")
    # Whatever the names are, no file is anywhere else, and none hides.
    made = sorted(path.name for path in folder.iterdir())
    assert made == [
        "01-x.png",
        "02-etc_passwd.png",
        "03-script_alert_1_script.png",
        "04-a_b_c.png",
        "05-디스크.png",
        "06-unnamed.png",
        "07-디스크.png",
        f"08-a_b_{'x' * 56}.png",
        "index.html",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.toml", "made"]
    page = Page(folder / "index.html")
    assert page.sources == made[:-1]
    assert all(is_picture(folder / source) for source in page.sources)
    shown = [*NAMES[:-1], "a\\x00b\\n" + "x" * 300]
    assert page.alts == shown
    assert [text for text in page.text if text in shown] == shown
    assert not {"script", "b"} & set(page.tags)
    assert "<b>Fleet & more" in page.text
    (told,) = [text for text in page.text if ", resolution auto; 8 widgets; made 20" in text]
    assert told.startswith("2025-11-2")


def test_widgets_that_fail_do_not_stop_the_others(
    account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widgets = [widget(f"w{number}", f"W{number}") for number in range(5)]
    account.settings.change({"dashboards": [board("b", "B", *widgets)]})
    folder = tmp_path / "pictures"
    assert command("image", "B", "--all", "-o", folder, *SPAN, "--config", config) == 0
    account.settings.change({"image_of": {"w1": "torn", "w2": "html", "w3": "error"}})
    capsys.readouterr()
    assert command("image", "B", "--all", "-o", folder, *SPAN, "--config", config) == 69
    said = capsys.readouterr()
    assert said.out.startswith(f"{folder}/index.html: 2 of 5 widgets of B")
    assert [line.partition(": ")[0] for line in said.err.splitlines()] == [f"no picture of W{n}" for n in (1, 2, 3)]
    # Those of the first time are not to be taken for this one's.
    assert sorted(path.name for path in folder.iterdir()) == ["01-W0.png", "05-W4.png", "index.html"]
    page = Page(folder / "index.html")
    assert page.sources == ["01-W0.png", "05-W4.png"]
    assert any(text.startswith("the picture is not whole") for text in page.text)
    assert any("2 of 5 widgets" in text for text in page.text)
    assert command("image", "B", "--all", "-o", folder, *SPAN, "--json", "--config", config) == 69
    told = json.loads(capsys.readouterr().out)
    assert [bool(each["error"]) for each in told["widgets"]] == [False, True, True, True, False]
    assert told["widgets"][0]["bytes"] == (folder / told["widgets"][0]["file"]).stat().st_size


def test_a_service_that_no_longer_answers_is_not_asked_for_every_widget(
    account: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widgets = [widget(f"w{number}", f"W{number}") for number in range(8)]
    limit = {"requests_per_minute": 4, "retry_after": "3600"}  # the lists and two pictures
    account.settings.change({"dashboards": [board("b", "B", *widgets)], "clock_offset": 3.0, **limit})
    account.state.rate._times.clear()
    assert command("image", "B", "--all", "-o", tmp_path / "pictures", *SPAN, "--config", config) == 69
    assert len(account.requests) == 2 + 2 + 3
    said = capsys.readouterr().err.splitlines()
    assert ["not asked for" in line for line in said] == [False] * 3 + [True] * 3


def test_an_empty_dashboard_has_an_empty_index(account: Sandbox, config: Path, tmp_path: Path) -> None:
    account.settings.change({"dashboards": [board("b", "B")]})
    assert command("image", "B", "--all", "-o", tmp_path / "p", "--config", config) == 0
    assert Page(tmp_path / "p" / "index.html").sources == []


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: b"", "no PNG signature"),
        (lambda data: data[1:], "no PNG signature"),
        (lambda data: data[:8], "without its last chunk"),
        (lambda data: data[:-12], "without its last chunk"),
        (lambda data: data[:-1], "without its last chunk"),
        (lambda data: data[:200], "within a chunk"),
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], "the CRC does not fit"),
        (lambda data: data[:8] + chunk(b"IDAT") + data[8:], "does not begin with IHDR"),
        (lambda data: data[:33] + chunk(b"IEND"), "there is no picture in it"),
        (lambda data: data, ""),
        (lambda data: data + b"\n", ""),
    ],
)
def test_a_png_is_whole_or_it_is_said_what_is_wrong(damage: Callable[[bytes], bytes], told: str) -> None:
    found = flaw(damage(WHOLE))
    assert told in found
    assert bool(found) == bool(told)


def test_no_cut_of_a_png_passes_for_one() -> None:
    assert all(flaw(WHOLE[:length]) for length in range(len(WHOLE)))


@pytest.mark.parametrize("text", ["..", "/", "a/../b", "\0", "", "~", ".hidden", "CON:", "x" * 999, "é/é", "a\\b"])
def test_a_name_out_of_anybodys_text_leads_nowhere(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name.encode()) <= 240
    assert not set(name) & set("/\\.:~\0\n")


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "folder.png", WHOLE)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_write_that_is_interrupted_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: int) -> None:
        raise KeyboardInterrupt

    write(tmp_path / "a.png", WHOLE)
    monkeypatch.setattr("agent.cli.insight.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.png", b"another")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", WHOLE)]
