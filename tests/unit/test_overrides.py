"""Corrections that users write."""

from __future__ import annotations

import pytest

from schemas.errors import UsageError
from schemas.overrides import parse_overrides
from tasks.countries.reference import Reference

HEADER = "kind,key,country,reason,source,date\n"


def test_corrections_are_read_in_compare_form():
    found = parse_overrides(
        "# mine\n"
        + HEADER
        + "institution,https://openalex.org/I123,fr,moved,letter,2026-01-02\n"
        + "institution,https://ror.org/01ggx4157,CH,site,,2026-01-02\n"
        + 'string,"Lab X,  Rome.",IT,"printed, wrongly",,2026-01-02\n',
        "mine.csv",
    )
    assert [(one.kind, one.key, one.country) for one in found] == [
        ("institution", "I123", "FR"),
        ("institution", "01ggx4157", "CH"),
        ("string", "lab x, rome", "IT"),
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("place,x,FR,r,s,2026-01-02", "kind 'place'"),
        ("string,,FR,r,s,2026-01-02", "key is empty"),
        ("string, . ,FR,r,s,2026-01-02", "key is empty"),
        ("institution,CNRS,FR,r,s,2026-01-02", "neither an OpenAlex id"),
        ("string,x,UK,r,s,2026-01-02", "write GB"),
        ("string,x,,r,s,2026-01-02", "country ''"),
        ("string,x,FR,,s,2026-01-02", "reason is empty"),
        ("string,x,FR,r,s,yesterday", "date 'yesterday'"),
        ("string,x,FR,r,s,2026-W01", "date '2026-W01'"),
        (f"string,{'x' * 5000},FR,r,s,2026-01-02", "longer than"),
        ("string,x,FR,r,s,", "date ''"),
        ("string,Lab, Rome,IT,r,s,2026-01-02", "country 'Rome'"),  # a comma that is not quoted
        ("string,x,FR,r,s,2026-01-02,more", "more columns"),
        ("string,x,FR,r,s,2026-01-02\nstring,X.,DE,r,s,2026-01-02", "further up"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_taken(row, why):
    with pytest.raises(UsageError, match=r"mine\.csv, line \d") as found:
        parse_overrides(HEADER + row + "\n", "mine.csv")
    assert why in str(found.value)


@pytest.mark.parametrize("text", ["", "a,b\n", "\x00", "kind;key;country\n"])
def test_what_is_no_such_file_is_said(text):
    with pytest.raises(UsageError, match=r"mine\.csv"):
        parse_overrides(text, "mine.csv")


def test_users_corrections_beat_those_of_the_package_and_strings_beat_institutions():
    rows = 'string,"ORCID, Inc",US,r,s,2026-01-02\ninstitution,I1,DE,r,s,2026-01-02\n'
    reference = Reference(tuple(parse_overrides(HEADER + rows, "mine.csv")))
    both = reference.override(1, None, "orcid, inc")
    assert both is not None
    assert both.country == "US"
    alone = reference.override(1, None, "somewhere")
    assert alone is not None
    assert alone.country == "DE"
    assert reference.override(2, None, "somewhere") is None
    shipped = Reference().override(None, None, "orcid, inc")
    assert shipped is not None
    assert shipped.country == "ZZ"
