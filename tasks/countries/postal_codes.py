"""Postal codes, and numbers of research units, of a shape that only one country uses. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.places.evidence import Evidence
from tasks.countries.segments import Named

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b"), "GB"),
    (re.compile(r"\b[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z]\s?\d[ABCEGHJ-NPRSTV-Z]\d\b"), "CA"),
    (re.compile(r"\b(?:F|FR)[-‐‑–]\s?\d{5}\b"), "FR"),
    (re.compile(r"\b(?:D|DE)[-‐‑–]\s?\d{5}\b"), "DE"),
    (re.compile(r"\b(?:I|IT)[-‐‑–]\s?\d{5}\b"), "IT"),
    (re.compile(r"\bE[-‐‑–]\s?\d{5}\b"), "ES"),
    (re.compile(r"\b(?:CH)[-‐‑–]\s?\d{4}\b"), "CH"),
    (re.compile(r"\b(?:A|AT)[-‐‑–]\s?\d{4}\b"), "AT"),
    (re.compile(r"\b(?:B|BE)[-‐‑–]\s?\d{4}\b"), "BE"),
    (re.compile(r"\b(?:NL)[-‐‑–]\s?\d{4}(?:\s?[A-Z]{2})?\b"), "NL"),
    (re.compile(r"\b(?:DK)[-‐‑–]\s?\d{4}\b"), "DK"),
    (re.compile(r"\b(?:S|SE)[-‐‑–]\s?\d{3}\s?\d{2}\b"), "SE"),
    (re.compile(r"\b(?:FI|FIN|SF)[-‐‑–]\s?\d{5}\b"), "FI"),
    (re.compile(r"\bPL[-‐‑–]\s?\d{2}[-‐‑–]\d{3}\b"), "PL"),
    (re.compile(r"\bCZ[-‐‑–]\s?\d{3}\s?\d{2}\b"), "CZ"),
    (re.compile(r"〒\s?\d{3}[-‐‑–]\d{4}"), "JP"),
    (re.compile(r"\b(?:UMR|UPR|UMS|USR|FRE|UAR)(?:[\s_-]*(?:CNRS|INSERM|MD|S|C|n°))*[\s_-]*[A-Z]?\s?\d{3,4}\b"), "FR"),
    (re.compile(r"\b(?:EA|ERL|ULR)[\s-]?\d{3,4}\b|\b(?:ED|UR)[\s-]\d{3,4}\b|\bUR UPJV\b"), "FR"),
    (re.compile(r"\b(?:Inserm|INSERM)\b|\bU[\s-]?(?:8|9|10|11|12|13)\d{2}\b"), "FR"),
    (re.compile(r"\b[Cc](?:edex|EDEX)\b"), "FR"),
)
_OVERSEAS = frozenset("GP MQ GF RE YT NC PF PM WF BL MF".split())  # French postal words are used there too


def postal_codes(text: str, countries: Iterable[str]) -> list[Named]:
    """Countries whose postal codes or research units an address holds, one for each shape that is found in it.

    Args:
        text: the address as printed.
        countries: those of the names in it; French codes with a name of France overseas are of that territory.
    """
    if (
        not any(character.isdigit() for character in text)
        and "edex" not in text.lower()
        and "nserm" not in text.lower()
    ):
        return []
    overseas = [country for country in countries if country in _OVERSEAS]
    found = []
    for pattern, country in _SHAPES:
        match = pattern.search(text)
        if match:
            place = overseas[-1] if country == "FR" and overseas else country
            found.append(Named(place, Evidence.POSTAL, match[0]))
    return found
