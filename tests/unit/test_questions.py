"""What a question computes of a row, beside the views."""

from __future__ import annotations

from types import SimpleNamespace

from tasks.releases.questions import pairs


def test_a_year_without_any_country_is_unknown_and_not_zero():
    counted = {"papers": 0, "papers_with_unknown": 0, "world": 9, "world_with_unknown": 9}
    assert pairs._share_of(SimpleNamespace(**counted, world_without_country=9)) == (None, 9, 9, None, None, None)
    assert pairs._share_of(SimpleNamespace(**counted, world_without_country=8)) == (0, 9, 9, 0, 1, None)
