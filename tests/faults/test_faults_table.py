"""The table of faults itself."""

from __future__ import annotations

from faults import rows


def test_every_row_is_done_by_a_function() -> None:
    assert [row.id for row in rows.rows() if not callable(rows.work(row))] == []


def test_the_table_holds_what_it_must() -> None:
    assert len(rows.rows()) >= 45
