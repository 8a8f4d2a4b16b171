"""The documentation's table is that of the catalogue."""

from pathlib import Path

from charkha.operations.drills.table import rows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "drills.md"


def test_the_page_has_the_table() -> None:
    assert "\n".join(rows()) in PAGE.read_text("utf-8")
