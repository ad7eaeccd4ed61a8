"""What the replay of the OpenAlex API is asked for: filters, and parameters that it refuses as the service does."""

from __future__ import annotations

import base64

import pytest

from tests.replay.client import WORKS, message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("primary_topic.id:T10028", {1, 2, 3, 5}),
        ("primary_topic.id:https://openalex.org/T10028", {1, 2, 3, 5}),
        ("primary_topic.id:null", {4}),
        ("topics.id:t10028|T99", {1, 2, 3, 5}),
        ("topics.id:!T10028", {4}),
        ("primary_topic.subfield.id:1702", {1, 2, 3, 5}),
        ("primary_topic.subfield.id:https://openalex.org/subfields/1702", {1, 2, 3, 5}),
        ("primary-topic.subfield.id:!1702|1703", {4}),
        ("openalex:W1|https://openalex.org/W2|3", {1, 2, 3}),
        ("ids.openalex:W1", {1}),
        ("openalex_id:!W1|W2", {3, 4, 5}),
        ("doi:10.1/abc", {1}),
        ("doi:https://doi.org/10.1/Abc|10.1/x", {1}),
        ("has_doi:false", {2, 3, 4, 5}),
        ("publication_date:2020-06-30", {2}),
        ("from_publication_date:2020-06-30,to_publication_date:2021-01-01", {2, 3}),
        ("publication_date:<2020-05-05", {1}),
        ("publication_date:>2020-06-30", {3}),
        ("publication_year:2020", {1, 2}),
        ("publication_year:2020-2021", {1, 2, 3}),
        ("publication_year:!2020-2021", {4, 5}),
        ("publication_year:-2020", {1, 2}),
        ("publication_year:2022-", {4, 5}),
        ("publication_year:2020|2023", {1, 2, 5}),
        ("publication_year:>2021", {4, 5}),
        ("type:types/preprint", {2}),
        ("type:!article", {2}),
        ("language:null", {2}),
        ("language:EN", {1, 3, 4, 5}),
        ("is_retracted:true", {1}),
        ("has_references:false", {2}),
        ("has_abstract:true", {5}),
        ("is_oa:true,is_retracted:!null", {5}),
        ("cited_by_count:<6", {1, 4, 5}),
        ("cited_by_count:7", {3}),
        ("authors_count:3", {3}),
        ("authorships.countries:fr|DE", {3, 5}),
        ("authorships.countries:US CN", {1, 2, 4}),
        ("authorships.countries:!US", {3, 5}),
        ('type:"article"', {1, 3, 4, 5}),
        ("title.search:LEARNING maps", {5}),
    ],
)
def test_a_filter_finds_its_works(serve, text, expected):
    _, client = serve(WORKS)
    assert set(client.ids(filter=text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from_updated_date:2026-02-03", {4}),
        ("from_updated_date:2026-02-03T04:05:07", set()),
        ("to_updated_date:2026-02-03", {1, 2, 3, 4, 5}),
        ("updated_date:>2026-01-01", {4}),
        ("updated_date:2026-02-03", {4}),
    ],
)
def test_dates_of_update_are_for_paying_plans(serve, text, expected):
    _, paying = serve(WORKS, plan="premium")
    assert set(paying.ids(filter=text)) == expected
    assert paying.ids(sort="updated_date:desc")[0] == 4
    _, free = serve(WORKS)
    refused = free.ask(filter=text)
    assert (refused.status_code, refused.json()["error"]) == (429, "Plan upgrade required")
    assert message(refused) == (
        f'The "{text[: text.index("-") + 6]}" filter requires a Premium, Institutional, or Partner plan. '
        "See https://openalex.org/pricing for details."
    )
    assert "Retry-After" not in refused.headers
    assert message(free.ask(sort="updated_date:desc")).startswith('Sorting by "updated_date:desc" requires')


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"filter": "DOESNTEXIST:1"}, "DOESNTEXIST is not a valid field. Valid fields are underscore or hyphenated"),
        (
            {"select": "id,DOESNTEXIST"},
            "DOESNTEXIST is not a valid select field. Valid fields for select are: id, doi,",
        ),
        ({"unknown": "1"}, "unknown is not a valid parameter. Valid parameters are: "),
        ({"filter": "from_publication_date:2020-02-30"}, "Value for param from_publication_date is an invalid date. "),
        ({"filter": "publication_date:2020-01-01-2020-02-01"}, "Value for param publication_date is an invalid date. "),
        (
            {"filter": "openalex:" + "|".join(f"W{n}" for n in range(101))},
            "Maximum number of values exceeded for opena",
        ),
        ({"filter": "openalex:wrong"}, "'wrong' is not a valid OpenAlex ID."),
        ({"filter": "publication_year:new"}, "Value for param publication_year must be a number."),
        ({"filter": "has_doi:maybe"}, "Value for has_doi must be true or false, not maybe."),
        ({"filter": "type:"}, "Invalid filter value for 'type': value cannot be empty or ''."),
        ({"filter": "type:a|!b"}, "The ! operator can only be used at the beginning of an OR query"),
        ({"sort": "wrong"}, "wrong is not a valid field."),
        ({"group_by": "cited_by_count"}, "Cannot group by date, number, or search fields."),
        ({"group_by": "type", "select": "id"}, "select does not work with group_by."),
    ],
)
def test_wrong_parameters_are_refused_in_the_words_of_the_service(serve, params, expected):
    server, client = serve(WORKS)
    answer = client.ask(**params)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid query parameters error.")
    assert message(answer).startswith(expected)
    assert server.credits_used == 1  # paid for, as recorded


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"page": 101, "per-page": 100}, "Maximum results size of 10,000 records is exceeded. Cursor pagination is re"),
        ({"per_page": 201}, "per-page parameter must be between 1 and 200."),
        ({"page": 0}, "Page parameter must be greater than 0."),
        ({"page": 2, "cursor": "*"}, "Cannot use page parameter with cursor."),
        ({"cursor": "null"}, "Cursor is null. Likely reached end of results."),
        ({"cursor": "wrong"}, "Invalid cursor value"),
        ({"cursor": base64.b64encode(b'"[1]"').decode()}, "Cursor value is invalid."),
    ],
)
def test_wrong_pages_are_refused_in_the_words_of_the_service(serve, params, expected):
    _, client = serve(WORKS)
    answer = client.ask(**params)
    assert (answer.status_code, answer.json()["error"]) == (400, "Pagination error.")
    assert message(answer).startswith(expected)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"limit": 5}, "limit_param"),
        ({"filter": "type:a,b"}, "raw_comma_filter"),
        ({"filter": "type:" + "a" * 8190}, None),
    ],
)
def test_the_edge_refuses_before_the_origin(serve, params, reason):
    _, client = serve(WORKS)
    answer = client.ask(**params)
    assert answer.status_code == 400
    assert answer.headers.get("x-openalex-edge-reject") == (f"f1:{reason}" if reason else None)
    assert answer.json().get("error_source") == ("openalex-api-proxy" if reason else None)
