"""Countries that printed strings name or imply, and the words that decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.places.gazetteer import Kind, load_gazetteer
from schemas.places.territories import UNKNOWN, territory_names
from schemas.reviewed import read_table
from schemas.words import fold
from tasks.countries.addresses import countries_in, places_in, read_addresses

NAMED = """
Naivasha, Kenya | KE
University of Tokyo, Tokyo, Japan. | JP
MIT, Cambridge, MA 02139, USA | US
Dept of Physics, Beijing 100875, P.R. China | CN
Key Laboratory, Beijing 100875,China) | CN
National University of Singapore, Singapore 117543 | SG
University College London, London, U.K. | GB
University of Edinburgh, Edinburgh, Scotland | GB
KAIST, Daejeon, Republic of Korea | KR
Univ. X (Korea, Republic of) | KR
Korea, Democratic People's Republic of | KP
University of Windhoek, Namibia | NA
Université, Abidjan, Côte d’Ivoire | CI
Technical University, The Netherlands | NL
Institute, Rome, Italy. Electronic address: a@b.it | IT
Institute, Rome, Italy a@b.it | IT
Hubei Key Laboratory of Agricultural Bioinformatics Huazhong Agricultural University Wuhan 430070 China | CN
Laboratoire de Métrologie (LNE), 29 avenue Hennequin - 78197 Trappes Cedex - France | FR
Champs Magnétiques, F-31400 Toulouse Cedex, France, EU. | FR
INSA de RennesFrance | FR
"""
LANGUAGES = """
U.S.A. | US
P.R. China | CN
Deutschland | DE
República Dominicana | DO
中国 | CN
Россия | RU
대한민국 | KR
Türkiye | TR
UAE | AE
Österreich | AT
日本 | JP
भारत | IN
جامعة القاهرة، مصر | EG
Ελλάδα | GR
Česká republika | CZ
北京大学 | CN
東京大学 | JP
서울대학교 | KR
Universität Wien | AT
"""
STATES = """
Lebanon, NH | US
Peru, IN | US
Mexico, MO | US
Dublin, CA | US
Cambridge, MA | US
Paris, Texas | US
Moscow, ID 83844 | US
London, Ontario | CA
Vancouver, BC V6T 1Z4 | CA
Lab, Ontario, CA 91761, USA | US
London, ON, CA | CA
Baden-Württemberg, DE | DE
Munich, DE | DE
Belém, PA | BR
Perth, WA | AU
Seattle, WA | US
Sydney, NSW | AU
University of New Mexico | US
Jersey City Medical Center, Jersey City, New Jersey | US
University of Michigan | US
New Brunswick, NJ | US
Fredericton, New Brunswick | CA
Oxford OX1 3QD | GB
Boston, Mass. | US
"""
ABROAD = """
Politecnico di Milano, Milano (MI) | IT
Università di Palermo, 90128 Palermo (PA) | IT
84084 Fisciano (SA), Università di Salerno | IT
NIT Manipur, Imphal, MN | IN
FBK, Via Sommarive 18, 38123 Trento, TN | IT
FBK, 38123 Trento (TN) | IT
FBK, Povo, Trento TN | IT
CICESE, Ensenada, BC | MX
CICESE, Ensenada, BC 22860 | MX
Engineering Dept, Viana, MA | BR
Chemical Works, Halle, SA |
Medical Center, Memphis, TN | US
Medical Center, Trento, TN 38122 | US
Lab, Trenton, MO | US
Lab, Surrey, BC | CA
University of Malta, Msida, MT | MT
University of Mississippi, Oxford, MS | US
University of Idaho, Moscow, ID | US
King University, Bristol, TN | US
University of Western Australia, 35 Stirling Highway, Crawley, WA, 6009 | AU
Charles Darwin University, Darwin, NT | AU
University of Victoria, Victoria, B.C. | CA
Melbourne, Victoria | AU
University of Queensland, St Lucia | AU
Castries, St Lucia | LC
Universidad del Quindio, Armenia, Colombia | CO
Yerevan, Armenia | AM
Aristotle University of Thessaloniki, Macedonia, Greece | GR
Chad, University of Minnesota | US
Cornell Tech, Roosevelt Island | US
University of Idaho, Moscow |
University of Georgia, Athens |
Florida Tech, Melbourne |
"""
AMBIGUOUS = """
Georgia Institute of Technology | US
Tbilisi, Georgia | GE
Athens, Georgia | US
University of Georgia, Tbilisi, Georgia | GE
University of Georgia, Athens, Georgia | US
University of Georgia, Georgia | US
Atlanta, Georgia 30332 | US
Georgia, USA | US
Georgia |
Macon, Georgia |
Brazzaville, Congo | CG
Université de Kinshasa, Congo | CD
Congo |
Seoul, Korea | KR
Pyongyang, Korea | KP
Korea | KR
Moscow, USSR | RU
Tallinn, USSR | EE
USSR |
Niger State, Nigeria | NG
Niamey, Niger | NE
Guinea-Bissau | GW
Papua New Guinea | PG
Guinea Pig Lab |
Beth Israel |
Beth Israel Deaconess Medical Center, Boston | US
Jersey City | US
St Helier, Jersey, UK | JE
Jersey, UK | JE
Institut Camille Jordan |
Chad Smith Lab |
Department of Chad Studies |
Prince of Wales Hospital |
New England |
University of Macedonia | GR
Skopje, FYR Macedonia | MK
Cambridge |
University of Cambridge | GB
IN |
CERMICS and LAMI |
"""
TERRITORIES = """
HKUST, Clear Water Bay, Hong Kong, China | HK
Hong Kong Univ. of Sci. & Technol., China | HK
The Chinese University of Hong Kong, Hong Kong, SAR, China | HK
The Chinese University of Hong Kong, Shenzhen, China | CN
CHU, Pointe-à-Pitre, Guadeloupe, France | GP
Academia Sinica, Taipei, Taiwan, Republic of China | TW
San Juan, Puerto Rico, USA | PR
Near East University, Nicosia, North Cyprus via Mersin 10, Turkey | CY
Nicosia, Northern Cyprus | CY
Pristina, Kosovo | XK
38400 St Martin d'Hères, France | FR
INRIA-Rhone-Alpes, ZIRST, Saint Martin, France | FR
Marigot, Saint Martin | MF
"""
SEVERAL = """
Lab A, Paris, France; Lab B, Berlin, Germany | FR DE
(1) MIT, Cambridge, MA, USA\\n(2) ETH, Zurich, Switzerland | US CH
1 Dept A, Rome, Italy 2 Dept B, Lyon, France | IT FR
INRIA, Paris, France and University of Mons, Mons, Belgium | FR BE
Georgia Tech, Atlanta, GA and Nankai University, Tianjin, China | US CN
Lyon, France, Mainz, Germany, Skillman, NJ | FR DE US
Delhi, India & Dhaka, Bangladesh | IN BD
Lab, Rome, Italy b Department of Physics, Lyon, France | IT FR
Bank of China, London, UK | GB
China Medical University, Taichung, Taiwan | TW
IRIS, École, 190 avenue de France, Bruxelles | BE
"""
IMPLIED = """
Niels Bohr Institute, Copenhagen | DK
American University of Beirut | LB
Universidad Nacional de Colombia | CO
CNRS UMR 8213 | FR
ETH Zürich | CH
Ecole Polytechnique F ´ed´erale de Lausanne | CH
Monash University Malaysia Campus | MY
"""

SEATS = """
Google | US
Google DeepMind | GB
Robotics at Google‡ | US
Microsoft Research Asia | CN
Microsoft Research Cambridge | GB
Microsoft Research, New England | US
Huawei Noah’s Ark Lab | CN
Meta AI (FAIR) | US
Apple Inc. | US
AT&T Labs | US
NAVER LABS Europe | FR
Bosch Center for Artificial Intelligence | DE
Department of Brain and Cognitive Sciences, MIT | US
MBZUAI | AE
KAIST1 | KR
Google, Zurich | CH
Google Zurich | CH
Microsoft Research, Beijing | CN
Microsoft Research, Bangalore, India | IN
Tencent AI Lab, Bellevue, WA | US
Samsung AI Center Moscow | RU
NVIDIA, Helsinki, Finland | FI
IBM Research - Brazil | BR
Microsoft Research and Tel Aviv University | IL
University of Toronto and NVIDIA | CA
Microsoft Research, Cambridge |
Microsoft, Asia |
Qualcomm Korea YH |
Google, Tencent |
IBM Research Europe |
Northeastern University |
Apple Valley Research Farm |
Villa Bosch Foundation |
"""


def cases(*blocks: str) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for line in "".join(blocks).splitlines():
        if line:
            text, codes = line.split("|")
            found.append((text.strip().replace("\\n", "\n"), tuple(codes.split())))
    return found


@pytest.mark.parametrize(
    ("text", "expected"), cases(NAMED, LANGUAGES, STATES, ABROAD, AMBIGUOUS, TERRITORIES, SEVERAL, IMPLIED, SEATS)
)
def test_a_string_says_its_countries(text, expected):
    assert countries_in(text) == expected


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        ("Lab, Rome, Italy", "country", "Italy"),
        ("HKUST, Hong Kong, China", "territory", "Hong Kong, China"),
        ("Cambridge, MA 02139", "subdivision", "MA 02139"),
        ("Tbilisi, Georgia", "among", "Georgia"),
        ("Institut Pasteur, F-75015 Paris", "postal", "F-75015"),
        ("Lab, Paris", "city", "Paris"),
        ("Chinese Academy of Sciences", "organization", "Chinese Academy of Sciences"),
        ("Munich, DE", "code", "DE"),
        ("Universität Wien", "city_in_name", "Wien"),
        ("Brain Team, Google Research", "headquarters", "Google Research"),
    ],
)
def test_the_rule_and_the_words_that_decided_are_told(text, rule, words):
    (named,) = read_addresses(text)
    assert (named.rule, named.words) == (rule, words)


def test_places_in_a_string_are_found_whatever_it_says_as_a_whole():
    assert places_in("University of California, San Diego and Tsinghua University, China") == {"US", "CN"}
    assert places_in("ANDRA, France") == frozenset()  # a country is no place that speaks for an institution


def test_a_seat_is_no_place_and_hides_none():
    """A bare company must not outvote the site that a string names, nor a row swallow the name of a place."""
    assert places_in("Microsoft Research, Beijing, China") == {"CN"}
    places = (Kind.AMONG, Kind.COUNTRY, Kind.RISKY_COUNTRY, Kind.SUBDIVISION, Kind.CITY)
    names = load_gazetteer().names
    for row in read_table("headquarters.csv"):
        words = fold(row["name"]).split()
        parts = {" ".join(words[at:end]) for at in range(len(words)) for end in range(at + 1, len(words) + 1)}
        assert row["use"] in ("", "alone")
        assert row["country"] in {"", *territory_names()} - {UNKNOWN}
        hidden = {part for part in parts if part in names and names[part].kind in places}
        assert hidden <= {"seattle", "petersburg", "st petersburg"}, row


HOSTILE = {
    "long": "x" * 1_000_000,
    "commas": "," * 1_000_000,
    "blanks": " " * 1_000_000,
    "mail": "e-mail " * 150_000,
    "controls": "\u202e\x00\x07<b>" * 100_000,
    "markup": "<" * 500_000 + ">" * 500_000,
    "at signs": "a@" * 500_000,
    "addresses": "Lab, Paris, France; " * 50_000,
    "countries": "China Japan " * 80_000,
    "mojibake": "Ã©" * 500_000,
    "accents": "´e" * 500_000,
    "numbers": "1 2 3 4 5 " * 100_000,
    "entities": "&amp;" * 200_000,
    "digits": "9" * 1_000_000,
    "capitals": "A-" * 500_000,
    "combining": "e\u0301" * 500_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_strings_are_read(text):
    """A megabyte each: all of them take a second or two, and hours if anything were quadratic."""
    assert all(len(code) == 2 for code in countries_in(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>Univ. of Rome</b>, It\u200baly", ("IT",)),
        ("Univ of Rome\u202e, Italy\x07", ("IT",)),
        ("Universit&eacute; de Gen&egrave;ve, Suisse", ("CH",)),
        ("Ã‰cole Polytechnique FÃ©dÃ©rale de Lausanne", ("CH",)),
        ("University of Rome, Italy#TAB##N#", ("IT",)),
        ("ﬁrst lab, Ｊａｐａｎ", ("JP",)),
        ("...", ()),
        ("", ()),
        (",;. ()", ()),
        ("=HYPERLINK(1), France", ("FR",)),
    ],
)
def test_damaged_strings_are_read(text, expected):
    assert countries_in(text) == expected


@given(st.text(max_size=300))
def test_any_string_is_read_without_harm(text):
    for named in read_addresses(text):
        assert len(named.country) == 2
        assert named.words


@given(
    st.lists(
        st.sampled_from("Paris France, Berlin Germany ; and ( ) Hong Kong China 75005 MA CA Georgia \n".split(" "))
    )
)
def test_any_order_of_names_is_read_without_harm(words):
    found = countries_in(" ".join(words))
    assert len(set(found)) == len(found)
