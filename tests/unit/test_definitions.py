"""Fields, territories and rules: the reviewed files hang together, and do what they say."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import openalex
from schemas.counting.sets import EVERY, SEPARATOR
from schemas.fields import ADMITTING_KINDS, PATTERN_KINDS, PaperSubject, WorkSubject, load_definitions, read_abstract
from schemas.overrides import shipped_overrides
from schemas.places.evidence import RULES, Evidence
from schemas.places.gazetteer import Kind, load_gazetteer
from schemas.places.territories import (
    code_aliases,
    historical_codes,
    named_before,
    policies,
    territory_names,
    work_types,
)
from schemas.reviewed import DATA, read_caption
from schemas.tables import COUNTRY_SOURCES
from tests.factory import inverted, line, topic, work

PATTERNS = [
    (rule, value)
    for field in load_definitions().fields
    for rule in field.rules
    if rule.kind in PATTERN_KINDS
    for value in rule.values
]


def fields_of(scope: str = "ai", **more) -> dict[str, str]:
    record = openalex.work_decoder.decode(line(work(11, **more)))
    (found,) = load_definitions().classify([WorkSubject(record)], scope=scope)
    return dict(found)


def test_only_rules_that_openalex_can_filter_on_admit():
    for field in load_definitions().fields:
        assert not field.admits or all(rule.kind in ADMITTING_KINDS for rule in field.rules)
        assert all(rule.source for rule in field.rules)
    assert [field.id for field in load_definitions().fields if field.admits] == ["ai"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"primary_topic": topic("T1", 1702)}, "subfield-ai"),
        ({"primary_topic": topic("T1", 1707)}, "subfield-vision"),
        ({"primary_topic": topic("T10203", 1710)}, "topic-extra"),
        ({"primary_topic": topic("T10237", 1702)}, None),  # cryptography is filed under AI
        ({"primary_topic": topic("T1", 2105)}, None),
        ({"primary_topic": None}, None),  # the API cannot find it either
    ],
)
def test_ai_admits_works_by_their_primary_topic(more, expected):
    assert fields_of(**more).get("ai") == expected


def test_subfields_look_only_at_admitted_works():
    cooking = fields_of(scope="all", primary_topic=topic("T1", 2105), title="Deep learning for robots")
    assert cooking == {"all": "scope"}
    found = fields_of(scope="all", topics=[], title="Deep learning for robots in cancer diagnosis")
    assert found == {
        "all": "scope",
        "ai": "subfield-ai",
        "machine-learning": "ml-title",
        "robotics": "robotics-title",
        "healthcare": "health-title",
    }


@pytest.mark.parametrize(
    ("title", "text", "is_llm"),
    [
        ("Prompting LLMs", "", True),
        ("A study", "we ask ChatGPT about it", True),
        ("A study", "we use large language models throughout", True),
        ("A study", "language is large and models are many", False),
        ("Small molecules", "the ALLMAN criterion", False),
    ],
)
def test_large_language_models_in_title_or_abstract(title, text, is_llm):
    assert ("large-language-models" in fields_of(title=title, abstract_inverted_index=inverted(text))) is is_llm


VENUES = [
    ("nips", "neurips"),
    ("Neural Information Processing Systems", "neurips"),
    ("Advances in Neural Information Processing Systems 32", "neurips"),
    ("Proceedings of the 40th International Conference on Machine Learning", "icml"),
    ("International Conference on Learning Representations", "iclr"),
    ("Proceedings of the AAAI Conference on Artificial Intelligence", "aaai"),
    ("Proceedings of the Thirty-Third International Joint Conference on Artificial Intelligence", "ijcai"),
    ("2023 IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", "cvpr"),
    ("Computer Vision and Pattern Recognition", "cvpr"),
    ("2021 IEEE/CVF International Conference on Computer Vision (ICCV)", "iccv"),
    ("2024 IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)", "wacv"),
    ("2024 International Conference on 3D Vision (3DV)", "3dv"),
    (
        "Proceedings of the 60th Annual Meeting of the Association for Computational Linguistics"
        " (Volume 1: Long Papers)",
        "acl",
    ),
    ("Proceedings of the 2021 Conference on Empirical Methods in Natural Language Processing", "emnlp"),
    ("Empirical Methods in Natural Language Processing", "emnlp"),
    (
        "Proceedings of the 2018 Conference of the North American Chapter of the Association for Computational"
        " Linguistics: Human Language Technologies, Volume 1 (Long Papers)",
        "naacl",
    ),
    ("Proceedings of the 26th ACM SIGKDD International Conference on Knowledge Discovery & Data Mining", "kdd"),
    ("Proceedings of the ACM Web Conference 2023", "www"),
    ("The Web Conference", "www"),
    ("2022 International Conference on Robotics and Automation (ICRA)", "icra"),
    ("2021 IEEE/RSJ International Conference on Intelligent Robots and Systems (IROS)", "iros"),
    ("Robotics: Science and Systems XIX", "rss"),
    ("Proceedings of the 31st ACM International Conference on Multimedia", "acm-mm"),
    ("siggraphasia", "siggraph-asia"),
    ("ICML Workshop on Machine Learning for Earth System Modeling", None),
    ("2023 IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops (CVPRW)", None),
    ("2021 IEEE/CVF International Conference on Computer Vision (ICCVW)", None),
    ("Findings of the Association for Computational Linguistics: EMNLP 2020", None),
    ("Asian Conference on Computer Vision", None),
    ("European Conference on Machine Learning", None),
    ("International Conference on Machine Learning and Applications", None),
    ("International Conference on Computer Vision Theory and Applications", None),
    ("Computational Linguistics", None),
    ("Machine Learning", None),
    ("arXiv (Cornell University)", None),
]


@pytest.mark.parametrize(("venue", "field"), VENUES)
def test_a_venue_is_its_main_conference_whatever_the_year(venue, field):
    found = fields_of(primary_location={"source": {"display_name": venue}})
    groups = {field.id: field.group for field in load_definitions().fields}
    assert [one for one in found if groups[one] == "venue"] == ([field] if field else [])


@pytest.mark.parametrize(("rule", "value"), PATTERNS)
def test_hints_miss_nothing_that_the_pattern_matches(rule, value):
    @given(st.from_regex(rf"\A(?:{value})\Z"))
    def check(match: str) -> None:
        assert rule.pattern.search(f"on {match} here")
        assert rule.may_match(f"on {match} here".casefold())
        assert rule.may_match(json.dumps(inverted(f"on {match} here")).lower().encode())

    check()


INDEX = {"learning": [1], "deep": [0]}


@pytest.mark.parametrize(
    "shape",
    [INDEX, {"InvertedIndex": INDEX, "IndexLength": 2}, json.dumps(INDEX), json.dumps({"InvertedIndex": INDEX})],
    ids=["plain", "wrapped", "as text", "wrapped, as text"],
)
def test_an_abstract_is_read_in_every_shape_that_it_has_had(shape):
    assert read_abstract(msgspec.Raw(json.dumps(shape).encode())) == "deep learning"


@pytest.mark.parametrize(
    "broken", [b"null", b"7", b'"{"', b'{"a": "b"}', b'{"\xff": [0]}', b"[" * 10_000], ids=range(6)
)
def test_a_broken_abstract_is_none(broken):
    assert read_abstract(msgspec.Raw(broken)) == ""


def test_every_code_that_is_translated_exists():
    codes = territory_names()
    assert len(codes) == 251  # 249 of ISO 3166-1, XK and ZZ
    assert {"NA", "XK", "HK", "MO", "TW", "PS", "ZZ"} <= codes.keys()
    assert set(code_aliases().values()) | set(named_before().values()) <= codes.keys()
    assert {past.successor for past in historical_codes().values()} - {""} <= codes.keys()
    assert not codes.keys() & (code_aliases().keys() | historical_codes().keys())
    assert {override.country for override in shipped_overrides()} <= codes.keys()
    names = load_gazetteer().names.values()
    assert {name.country for name in names if name.kind not in (Kind.NOTHING, Kind.AMONG)} <= codes.keys()
    assert {code for name in names for code in name.among} <= codes.keys()


def test_every_rule_of_evidence_has_its_source_and_confidence():
    assert RULES.keys() == set(Evidence)
    assert {rule.source for rule in RULES.values()} == set(COUNTRY_SOURCES)
    assert all(0 <= rule.confidence <= 100 for rule in RULES.values())


def test_policies_fold_territories_once_and_never_the_unknown():
    assert [policy.id for policy in policies()] == ["iso", "greater-china", "mainland-sar"]
    for policy in policies():
        assert "Source:" in policy.text
        assert policy.counts_as.keys() | set(policy.counts_as.values()) <= territory_names().keys()
        assert not policy.counts_as.keys() & set(policy.counts_as.values())
        assert "ZZ" not in policy.counts_as.keys() | set(policy.counts_as.values())


def test_names_of_fields_and_policies_can_be_listed_in_a_set():
    names = {*load_definitions().names, *(policy.id for policy in policies())}
    assert {name for name in names if SEPARATOR in name or name == EVERY} == set()


def test_every_reviewed_file_names_its_source():
    for path in [*DATA.iterdir(), *(DATA / "policies").iterdir()]:
        if path.name.endswith(".csv"):
            folder = "policies/" if path not in list(DATA.iterdir()) else ""
            caption = read_caption(folder + path.name)
            assert "reviewed 20" in caption.lower() or "source" in caption.lower(), path.name


def test_work_types_are_counted_or_not_and_translated():
    types = work_types()
    assert {"article", "preprint", "review", "book-chapter"} <= types.counted
    assert {"dataset", "peer-review", "editorial", "letter", "paratext", "retraction"} <= types.known - types.counted
    assert types.crossref["proceedings-article"] == "article"
    assert set(types.crossref.values()) <= types.known


def test_hostile_names_of_venues_take_no_time():
    """Words that two parts of the pattern match made it try 2^40 ways."""
    subject = PaperSubject("Soup", "twentieth " * 40 + "x", None)
    assert [field for field, _ in load_definitions().classify([subject], scope="ai")[0]] == ["ai"]
