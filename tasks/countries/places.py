"""What somebody calls a territory: a code, a name in the tables, or any name of a country in the gazetteer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache

from schemas.errors import UsageError
from schemas.places.blocs import blocs
from schemas.places.gazetteer import Kind, load_gazetteer
from schemas.places.territories import UNKNOWN, code_aliases, native_names, policies, territory_codes3, territory_names
from schemas.words import fold

AMBIGUOUS = {"congo": ("CD", "CG"), "cssr": ("CZ", "SK"), "korea": ("KP", "KR"), "virgin islands": ("VG", "VI")}
"""Names that several territories go by, where the gazetteer or our own tables take one; Guinea, Niger, Samoa and Sudan
are one each."""
PARTS = frozenset(
    "england, scotland, wales, northern ireland, england uk, scotland uk, wales uk, northern ireland uk,"
    " kurdistan iraq, republic of srpska, republika srpska, northern cyprus, north cyprus, n cyprus,"
    " turkish republic of northern cyprus, trnc, kktc, kuzey kibris".split(", ")
)
"""Names that end addresses as a country does, of what has no rows of its own: figures of the whole would be read as
those of the part. Those that the gazetteer has as subdivisions are not repeated here."""
SIMILAR = 0.72
"""Of names that may have been meant: typing errors of one or two letters pass, "Paris" for Pakistan does not."""
SPOKEN = {"america": "US", "britain": "GB", "holy see": "VA"}
"""Said of a country, and too weak in an address to stand in the gazetteer."""


@cache
def _names() -> dict[str, str]:
    """Folded name or code -> code."""
    found = {fold(name): code for code, name in native_names().items()}
    found |= SPOKEN | {fold(name): code for code, name in territory_names().items()}
    found |= {code3.casefold(): code for code3, code in territory_codes3().items()}
    found |= {alias.casefold(): code for alias, code in code_aliases().items()}
    return found | {code.casefold(): code for code in territory_names()}


def territory_of(text: str, policy: str) -> str:
    """Code of the territory that a text names.

    Raises:
        UsageError: none is called so, or more than one, it is part of another, the unknown one, or the policy counts it
            as another.
    """
    code = next(filter(None, (_territory_called(said, text) for said in _ways_to_say(text))), None)
    if code is None or code == UNKNOWN:
        raise UsageError(f"unknown country {text!r}", _hint(fold(text)))
    for one in policies():
        if one.id == policy and code in one.counts_as:
            whole = one.counts_as[code]
            raise UsageError(
                f"policy {policy} counts {name_of(code)} as {name_of(whole)}", f"ask for {whole}, or take --policy iso"
            )
    return code


def _hint(said: str) -> str:
    """What to ask for instead of a folded text that names no territory."""
    for bloc in blocs():
        if said in (fold(bloc.id), fold(bloc.name)):
            ranked = f"`collab ask non-western --bloc {bloc.id}`"
            return f"it is a bloc: its figures are in bloc_year and bloc_pair_year, and {ranked} ranks its members"
    names = {fold(name): code for code, name in territory_names().items() if code != UNKNOWN}
    near = get_close_matches(said, names, n=3, cutoff=SIMILAR)
    meant = " or ".join(f"{name_of(names[name])} ({names[name]})" for name in near)
    return f"did you mean {meant}?" if near else "give a code such as IN, or an English name"


def _ways_to_say(text: str) -> Iterator[str]:
    """Folded and without "the": as it was said, then what stands after a comma first ("Iran, Islamic Republic of")."""
    first, comma, last = text.partition(",")
    for said in (text, f"{last} {first}") if comma else (text,):
        yield fold(said).removeprefix("the ")


def _territory_called(said: str, text: str) -> str | None:
    """Code of the territory of a folded name; the gazetteer, which takes a moment to read, is asked last.

    Raises:
        UsageError: more than one is called so, or it is part of one; the message quotes the whole text.
    """
    several: Iterable[str] = AMBIGUOUS.get(said, ())
    if not several:
        if code := _names().get(said):
            return code
        name = load_gazetteer().names.get(said)
        if name is None or name.kind not in (Kind.COUNTRY, Kind.RISKY_COUNTRY, Kind.AMONG, Kind.SUBDIVISION):
            return None
        if name.kind is Kind.SUBDIVISION or said in PARTS:
            raise UsageError(
                f"{text!r} has no figures of its own: affiliations there count for {name_of(name.country)}",
                f"ask for {name.country}",
            )
        if name.country:
            return name.country
        several = sorted(name.among)
    which = " or ".join(f"{code} ({name_of(code)})" for code in several)
    raise UsageError(f"{text!r} can be more than one country", f"give its code: {which}")


def name_of(code: str) -> str:
    """English name of a territory."""
    return territory_names().get(code, code)
