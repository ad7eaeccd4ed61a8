"""The `filter` parameter: comma is AND, `|` OR, `!` NOT, `+` (a blank) all of, ranges, `null`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from tests.replay.answers import edge_error, query_error
from tests.replay.facts import Facts, short_name, to_milliseconds, words_of

MOST_VALUES = 100
DAY = 86_400_000
Test = Callable[[Facts], bool]


@dataclass(frozen=True)
class Field:
    """A name that can be filtered by: `kind` says how values are read, `fact` what they are held against."""

    kind: str  # id | term | number | date | moment | flag | has | words
    fact: str
    side: str = ""  # of dates: from | to


FIELDS = {
    "authors_count": Field("number", "authors_count"),
    "authorships.countries": Field("term", "countries"),
    "cited_by_count": Field("number", "cited_by_count"),
    "created_date": Field("date", "created_date"),
    "doi": Field("term", "doi"),
    "from_created_date": Field("date", "created_date", "from"),
    "from_publication_date": Field("date", "publication_date", "from"),
    "from_updated_date": Field("moment", "updated_date", "from"),
    "has_abstract": Field("flag", "has_abstract"),
    "has_doi": Field("has", "has_doi"),
    "has_references": Field("has", "has_references"),
    "ids.openalex": Field("id", "openalex"),
    "is_oa": Field("flag", "is_oa"),
    "is_retracted": Field("flag", "is_retracted"),
    "language": Field("term", "language"),
    "openalex": Field("id", "openalex"),
    "openalex_id": Field("id", "openalex"),
    "primary_topic.id": Field("id", "primary_topic"),
    "primary_topic.subfield.id": Field("term", "primary_subfield"),
    "publication_date": Field("date", "publication_date"),
    "publication_year": Field("number", "publication_year"),
    "title.search": Field("words", "words"),
    "to_created_date": Field("date", "created_date", "to"),
    "to_publication_date": Field("date", "publication_date", "to"),
    "to_updated_date": Field("moment", "updated_date", "to"),
    "topics.id": Field("id", "topics"),
    "type": Field("term", "type"),
    "updated_date": Field("date", "updated_date"),
}


def invalid_field(name: str) -> Exception:
    names = ", ".join(name for name in FIELDS if name != "from_updated_date")  # the service keeps that one quiet
    return query_error(f"{name} is not a valid field. Valid fields are underscore or hyphenated versions of: {names}")


def split_filter(text: str) -> list[str]:
    """Parts between commas, but not commas in double quotes."""
    return [part for part in re.findall(r'(?:"[^"]*"?|[^,"])+', text) if part]


def check_commas(text: str) -> None:
    """The edge refuses a part without a colon: a comma in a value that was not escaped."""
    if any(":" not in part for part in split_filter(text)):
        raise edge_error(
            "raw_comma_filter",
            "A filter value contains an unescaped comma. Commas separate filters, so a literal comma inside a value "
            "must be percent-encoded as %2C (or the whole value wrapped in double quotes). "
            "e.g. filter=title.search:climate%2C+biodiversity",
        )


def parse_filter(text: str) -> list[Test]:
    """Tests a record must all pass."""
    tests = []
    for part in split_filter(text):
        name, value = part.split(":", 1)
        name = name.replace("-", "_")
        if not value or value.lower() in {"none", "undefined"}:
            raise query_error(
                f"Invalid filter value for '{name}': value cannot be empty or '{value}'. "
                f"Use a valid value like filter={name}:your_value"
            )
        if name not in FIELDS:
            raise invalid_field(name)
        tests.append(_clause(name, FIELDS[name], value))
    return tests


def _clause(name: str, field: Field, value: str) -> Test:
    quoted = len(value) > 1 and value.startswith('"') and value.endswith('"') and field.kind != "words"
    value = value.strip('"') if quoted else value
    if "|" in value:
        parts = value.split("|")
    elif field.kind in {"id", "term"} and not quoted:
        parts = value.split(" ")
    else:
        parts = [value]
    if len(parts) > MOST_VALUES:
        raise query_error(
            f"Maximum number of values exceeded for {name}. Decrease values to {MOST_VALUES} or below, or consider "
            "downloading the full dataset at https://developers.openalex.org/download/snapshot-format"
        )
    if "|" not in value:
        tests = [_test(name, field, part) for part in parts]
        return tests[0] if len(tests) == 1 else lambda facts: all(test(facts) for test in tests)
    negated, parts[0] = parts[0].startswith("!"), parts[0].removeprefix("!")
    if wrong := [part for part in parts if part.startswith("!") and not negated]:
        raise query_error(
            "The ! operator can only be used at the beginning of an OR query, like /works?filter=concepts.id:"
            f"!C144133560|C15744967, meaning NOT (C144133560 or C15744967). Problem value: {wrong[0]}"
        )
    found = _any_of(name, field, [part.removeprefix("!") for part in parts])
    return (lambda facts: not found(facts)) if negated else found


def _any_of(name: str, field: Field, values: list[str]) -> Test:
    if field.kind in {"id", "term"} and "null" not in values:  # one look-up instead of a hundred tests
        get = attrgetter(field.fact)
        wanted = frozenset(_term(field, value) for value in values)
        return lambda facts: not wanted.isdisjoint(get(facts))
    tests = [_test(name, field, value) for value in values]
    return lambda facts: any(test(facts) for test in tests)


def _test(name: str, field: Field, value: str) -> Test:
    get = attrgetter(field.fact)
    if field.kind in {"id", "term"}:
        return _term_test(field, get, value)
    if field.kind == "number":
        return _number_test(name, get, value)
    if field.kind in {"date", "moment"}:
        return _date_test(name, field, get, value)
    if field.kind == "words":
        wanted = words_of(value)
        return lambda facts: wanted <= get(facts)
    return _flag_test(name, field, get, value)


def _term(field: Field, value: str) -> str:
    if field.kind == "term":
        text = (short_name(value.strip()) or ("",))[0]
        return text if field.fact == "doi" else text.rsplit("/", 1)[-1]  # also subfields/1702, types/article
    found = re.fullmatch(r"(?:https://openalex\.org/)?([a-z]?\d+)", value.strip().lower())
    if found is None:
        raise query_error(f"'{value.replace('https://openalex.org/', '')}' is not a valid OpenAlex ID.")
    letter = "w" if field.fact == "openalex" else "t"
    return found[1] if found[1][0].isalpha() else letter + found[1]


def _term_test(field: Field, get: Callable[[Facts], Any], value: str) -> Test:
    if value == "null":
        return lambda facts: not get(facts)
    if value == "!null":
        return lambda facts: bool(get(facts))
    wanted = _term(field, value.removeprefix("!"))
    if value.startswith("!"):
        return lambda facts: wanted not in get(facts)
    return lambda facts: wanted in get(facts)


def _number_test(name: str, get: Callable[[Facts], Any], value: str) -> Test:
    if value == "null":
        return lambda facts: get(facts) is None

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise query_error(f"Value for param {name} must be a number.") from None

    least, most, negated = float("-inf"), float("inf"), value.startswith("!")
    text = value.removeprefix("!").strip()
    if text.startswith(("<", ">")):
        bound, below = number(text[1:]), text[0] == "<"
        return lambda facts: (n := get(facts)) is not None and (n < bound if below else n > bound)
    if text.startswith("-"):
        most = number(text[1:])
    elif text.endswith("-"):
        least = number(text[:-1])
    elif "-" in text:
        least, most = map(number, text.split("-")[:2])
    else:
        least = most = number(text)
    return lambda facts: ((n := get(facts)) is not None and least <= n <= most) is not negated


def _date_test(name: str, field: Field, get: Callable[[Facts], Any], value: str) -> Test:
    """A day stands for all its milliseconds, as a moment of `updated_date` falls within it."""
    if value == "null" and not field.side:
        return lambda facts: get(facts) is None
    sign = value[0] if value[0] in "<>" else ""
    first, last = _span(name, field, value.removeprefix(sign))
    if sign == "<":
        return lambda facts: (at := get(facts)) is not None and at < first
    if sign == ">":
        return lambda facts: (at := get(facts)) is not None and at > last
    if field.side == "from":
        return lambda facts: (at := get(facts)) is not None and at >= first
    if field.side == "to":
        return lambda facts: (at := get(facts)) is not None and at <= last
    return lambda facts: (at := get(facts)) is not None and first <= at <= last


def _span(name: str, field: Field, text: str) -> tuple[int, int]:
    date = re.match(r"\d{4}-\d{2}-\d{2}", text)
    is_day = date is not None and date[0] == text
    try:
        first = to_milliseconds(text) if is_day or (date and field.kind == "moment") else None
    except ValueError:
        first = None
    if first is None and field.kind == "date":
        raise query_error(f"Value for param {name} is an invalid date. Format is yyyy-mm-dd (e.g. 2020-05-17).")
    if first is None:
        raise query_error(
            f"Value for param {name} is an invalid date. The date must be in ISO-8601 format, for example: "
            f'"2020-05-17", "2020-05-17T15:30", or "2020-01-02T00:22:35.180390". (Value given was {text})'
        )
    return first, first + DAY - 1 if is_day else first


def _flag_test(name: str, field: Field, get: Callable[[Facts], Any], value: str) -> Test:
    text = value.lower().strip()
    if field.kind == "flag" and text in {"null", "!null"}:
        return lambda facts: (get(facts) is None) is (text == "null")
    if text not in {"true", "false"}:
        allowed = "true or false, not" if field.kind == "has" else "true, false null, or !null: not"
        raise query_error(f"Value for {name} must be {allowed} {text}.")
    return lambda facts: get(facts) is (text == "true")
