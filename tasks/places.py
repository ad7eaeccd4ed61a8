"""What somebody calls a territory: code, three-letter code or name."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from schemas.errors import UsageError
from schemas.territories import UNKNOWN, code_aliases, native_names, policies, territory_codes3, territory_names

AMBIGUOUS = {"congo": ("CD", "CG"), "korea": ("KP", "KR"), "virgin islands": ("VG", "VI")}
"""Folded names that several territories go by, CG in our own tables; Guinea, Niger, Samoa and Sudan are one each."""


@cache
def _spoken() -> dict[str, str]:
    """Folded name or code -> code."""
    found = {name.casefold(): code for code, name in native_names().items()}
    found |= {name.casefold(): code for code, name in territory_names().items()}
    found |= {"usa": "US", "uae": "AE", "great britain": "GB", "england": "GB"}
    found |= {code3.casefold(): code for code3, code in territory_codes3().items()}
    found |= {alias.casefold(): code for alias, code in code_aliases().items()}
    return found | {code.casefold(): code for code in territory_names()}


def territory_of(text: str, policy: str) -> str:
    """Code of the territory that a text names.

    Raises:
        UsageError: none is called so, or more than one, it is the unknown one, or the policy counts it as another.
    """
    spoken = " ".join(text.split()).casefold()
    if spoken in AMBIGUOUS:
        which = " or ".join(f"{code} ({territory_names()[code]})" for code in AMBIGUOUS[spoken])
        raise UsageError(f"{text!r} can be more than one country", f"give its code: {which}")
    code = _spoken().get(spoken)
    if code is None or code == UNKNOWN:
        near = get_close_matches(text.casefold(), [name.casefold() for name in territory_names().values()], n=3)
        named = [f"{territory_names()[_spoken()[name]]} ({_spoken()[name]})" for name in near]
        hint = "did you mean " + " or ".join(named) + "?" if named else "give a code such as IN, or an English name"
        raise UsageError(f"unknown country {text!r}", hint)
    for one in policies():
        if one.id == policy and code in one.counts_as:
            whole = one.counts_as[code]
            raise UsageError(
                f"policy {policy} counts {territory_names()[code]} as {territory_names()[whole]}",
                f"ask for {whole}, or take --policy iso",
            )
    return code


def name_of(code: str) -> str:
    """English name of a territory."""
    return territory_names().get(code, code)
