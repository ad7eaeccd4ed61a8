"""How right the countries are: precision and recall on the truth sets in ../shared/data, before and after on real
works, and how fast strings are read. `make accuracy`.

Truth sets with labels (s2aff, RORacle): label -> ROR record -> country; a string counts only if all its labels are in
the ROR file. (string, country) pairs are scored, so a string with two countries is two pairs. Silver sets (strings that
OpenAlex had no country for, conference papers, OpenAlex' own works) hold the answers of another program: what is
printed there is agreement. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import ast
import csv
import gc
import gzip
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from schemas import words  # noqa: E402
from schemas.places.evidence import RULES  # noqa: E402
from schemas.places.gazetteer import Kind, load_gazetteer  # noqa: E402
from schemas.words import fold  # noqa: E402
from tasks.countries import addresses, locate, segments  # noqa: E402
from tasks.countries.locate import Decision, Locator  # noqa: E402
from tasks.countries.reference import Reference  # noqa: E402
from tasks.countries.ror import Organization, countries_of, read_organization  # noqa: E402
from tasks.countries.ror_index import RorIndex  # noqa: E402
from tasks.reading.parse import parse_work, read_version, read_work  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
WORKS = DATA / "openalex" / "snapshot" / "data" / "jsonl" / "works"
CONFUSIONS = 10
SPEED_STRINGS = 50_000
NOT_ACCEPTED = ("reject", "withdraw", "desk")
GREATER_CHINA = frozenset({"HK", "MO", "TW"})  # the normaliser of the venues calls them China

Say = Callable[[str], list[Decision]]


class Pair(NamedTuple):
    """A string and the countries it should have; `weight`: how often it occurs."""

    text: str
    countries: frozenset[str]
    weight: int = 1


def read_registry() -> dict[str, Organization]:
    with gzip.open(DATA / "ror" / "ror_records.jsonl.gz") as lines:
        found = (read_organization(json.loads(line)) for line in lines)
        return {one.ror: one for one in found if one}


def labelled(rows: Iterable[tuple[str, list[str]]], countries: dict[str, tuple[str, ...]]) -> tuple[list[Pair], int]:
    """Pairs whose labels are all in the registry, and how many strings with labels were left out."""
    pairs, excluded = [], 0
    for text, labels in rows:
        known = [countries.get(label.rsplit("/", 1)[-1]) for label in labels if label.startswith("http")]
        if known and all(known):
            pairs.append(Pair(text, frozenset(code for codes in known if codes for code in codes)))
        elif known:
            excluded += 1
    return pairs, excluded


def s2aff() -> Iterator[tuple[str, list[str]]]:
    with (DATA / "affiliations" / "s2aff_train_val.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["original_affiliation"], sorted(ast.literal_eval(row["labels"]))


def roracle() -> Iterator[tuple[str, list[str]]]:
    with (DATA / "affiliations" / "roracle_odd_ids.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["affiliation_string"], row["labels"].split()


def missing_country() -> list[Pair]:
    with (DATA / "affiliations" / "openalex_missing_country.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter=";")
        return [Pair(row["raw_affiliation_string"], frozenset(row["matched_country"].split(";"))) for row in rows]


def venues() -> list[Pair]:
    """Affiliations of accepted papers that have one country, each string and country once, with its frequency."""
    names = load_gazetteer().names
    found: Counter[tuple[str, str]] = Counter()
    with gzip.open(DATA / "venues" / "papers.jsonl.gz") as lines:
        for line in lines:
            paper = json.loads(line)
            if (paper.get("status") or "").lower().startswith(NOT_ACCEPTED):
                continue
            slots = (paper.get("aff") or "").split(";")
            index = (paper.get("aff_country_unique_index") or "").split(";")
            countries = (paper.get("aff_country_unique") or "").split(";")
            if len(slots) != len(index):
                continue
            for slot, at in zip(slots, index, strict=True):
                if "+" not in slot and at.isdigit() and int(at) < len(countries) and slot.strip():
                    name = names.get(fold(countries[int(at)]))
                    if name is not None and name.kind in (Kind.COUNTRY, Kind.RISKY_COUNTRY):
                        found[slot.strip(), name.country] += 1
                    elif countries[int(at)] in ("Georgia", "South Korea"):
                        found[slot.strip(), {"Georgia": "GE", "South Korea": "KR"}[countries[int(at)]]] += 1
    return [Pair(text, frozenset({code}), weight) for (text, code), weight in found.items()]


def records() -> Iterator[bytes]:
    """The last version of each real work."""
    last: dict[str, bytes] = {}
    for part in sorted(WORKS.glob("*/*.gz")):
        with gzip.open(part) as lines:
            for line in lines:
                last[json.loads(line)["id"]] = line
    yield from last.values()


def own_works() -> list[Pair]:
    """Strings of OpenAlex' works with the countries of the institutions linked to them."""
    found: Counter[tuple[str, frozenset[str]]] = Counter()
    for line in records():
        work = read_work(line)
        for author in parse_work(work, read_version(work, line)).authors:
            for address in author.places.addresses:
                codes = frozenset(it.country for it in address.institutions if it.country)
                if address.raw_string and codes:
                    found[address.raw_string, codes] += 1
    return [Pair(text, codes, weight) for (text, codes), weight in found.items()]


def names_a_place() -> Callable[[str], bool]:
    """Whether a string names a country or US state of the frozen list, as whole words."""
    lines = (ROOT / "tests" / "bench" / "named_places.txt").read_text(encoding="utf-8").splitlines()
    names = {fold(line) for line in lines if not line.startswith("#")}
    longest = max(name.count(" ") for name in names) + 1

    def named(text: str) -> bool:
        words = fold(text).split()
        return any(
            " ".join(words[at:end]) in names for at in range(len(words)) for end in range(at + 1, at + longest + 1)
        )

    return named


def wilson(right: int, total: int) -> str:
    """A share with its 95 % interval."""
    if not total:
        return "-"
    share, z = right / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{share:.4f} [{middle - half:.4f}, {middle + half:.4f}]"


def score(title: str, pairs: list[Pair], say: Say, *, excluded: int = 0, worst: int = CONFUSIONS) -> None:
    """Print precision and recall of pairs, and the most frequent confusions."""
    hits = wrong = missed = answered = agreed = total = 0
    confused: Counter[tuple[str, str]] = Counter()
    sample: dict[tuple[str, str], str] = {}
    for text, countries, weight in pairs:
        found = {one.country for one in say(text)} - {"ZZ"}
        hits += weight * len(found & countries)
        wrong += weight * len(found - countries)
        missed += weight * len(countries - found)
        total, answered = total + weight, answered + weight * bool(found)
        agreed += weight * (found == countries)
        if found - countries:
            key = " ".join(sorted(countries)), " ".join(sorted(found))
            confused[key] += weight
            sample.setdefault(key, text)
    print(f"\n{title}: {total:,} strings, {len(pairs):,} distinct, {excluded:,} left out")
    print(f"  precision {wilson(hits, hits + wrong)}   recall {wilson(hits, hits + missed)}")
    print(f"  answered {wilson(answered, total)}   the same set where answered {wilson(agreed, answered)}")
    for (true, said), count in confused.most_common(worst):
        print(f"    {count:>5} {true:>8} read as {said:<8} {sample[true, said][:110]!r}")


def names_greater_china(text: str) -> bool:
    """Whether a string says a place that the normaliser of the venues calls China."""
    return any(one.country in GREATER_CHINA for one in addresses.read_addresses(text))


def by_rule(pairs: list[Pair], say: Say) -> None:
    """Print how often each rule is right, beside the confidence that it claims."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for text, countries, weight in pairs:
        for one in say(text):
            if one.country != "ZZ":
                total[one.rule] += weight
                right[one.rule] += weight * (one.country in countries)
    print("\nrules on all of these, silver venues with Hong Kong, Macao and Taiwan left out")
    for rule in sorted(total, key=lambda rule: list(RULES).index(rule)):
        print(f"  {rule:<20} {total[rule]:>8,}  {wilson(right[rule], total[rule])}  claims {RULES[rule].confidence} %")


def before_and_after(reference: Reference) -> None:
    """Print what strings and ROR add to the countries of the records, on the real works."""
    told = []
    for title in ("countries of the records alone", "with strings, ROR and rules"):
        locator = Locator(reference if told else Reference())
        read = locate.read_addresses
        locate.read_addresses = read if told else lambda raw: ()
        works, located, authors, known, undetermined = 0, 0, 0, 0, 0
        cells: Counter[tuple[int | None, str, str]] = Counter()
        for line in records():
            work = read_work(line)
            parsed = parse_work(work, read_version(work, line))
            credit = locator.locate(parsed).credit
            found = sorted(p.territory for p in credit.territories if p.policy == "iso" and p.territory != "ZZ")
            unknown = next(row.unknown_share for row in credit.policies if row.policy == "iso")
            works, authors = works + 1, authors + len(parsed.authors)
            located, known = located + bool(found), known + credit.authors_located
            undetermined += bool(len(found) <= 1 and unknown)
            cells.update((parsed.year, a, b) for a in found for b in found if a < b)
        locate.read_addresses = read
        told.append(cells)
        shares = f"with a country {located / works:.3f}, authors located {known / authors:.3f}"
        print(
            f"\n{title}: {works:,} works, {shares}, undetermined {undetermined / works:.3f}, {len(cells):,} pair cells"
        )
    changed = sum(told[0][cell] != told[1][cell] for cell in told[0].keys() | told[1].keys())
    print(f"pair cells that differ: {changed:,} ({sum(told[1].values()) - sum(told[0].values()):+,} papers in pairs)")


def speed(texts: list[str], index: RorIndex) -> None:
    """Print strings a second on one core, each string read for the first time."""
    texts = list(dict.fromkeys(texts))[:SPEED_STRINGS]
    for cache in (addresses.read_addresses, segments._segment, words.fold_word):
        cache.cache_clear()
    gc.disable()  # as it is while records are derived
    started = time.perf_counter()
    for text in texts:
        addresses.read_addresses(text)
    rules = len(texts) / (time.perf_counter() - started)
    started = time.perf_counter()
    some = texts[:10_000]
    for text in some:
        index.find(text)
    found = len(some) / (time.perf_counter() - started)
    gc.enable()
    print(f"\n{len(texts):,} new strings: rules {rules:,.0f}/s (goal 20,000)")
    print(f"{len(some):,} new strings: ROR {found:,.0f}/s (goal 1,000)")


def memory() -> float:
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss / 1e6


def measure_index(folder: Path) -> RorIndex:
    """Print what loading an index and looking something up costs."""
    before, started = memory(), time.perf_counter()
    index = RorIndex.load(folder)
    index.find("Somewhere, University of Nowhere")
    seconds, megabytes = time.perf_counter() - started, memory() - before
    print(f"index: loaded in {seconds:.2f} s (goal 5 s), {megabytes:.0f} MB more in this process (goal 300 MB)")
    return index


def main() -> None:
    if not DATA.exists():
        raise SystemExit(f"the truth sets are not here: {DATA}")
    started = time.perf_counter()
    registry = read_registry()
    built = RorIndex.build(registry.values())
    print(f"ROR: {len(registry):,} organisations read and indexed in {time.perf_counter() - started:.1f} s")
    folder = ROOT / ".bench" / "ror-index"
    built.save(folder)
    index = measure_index(folder)
    countries = countries_of(registry)
    by_rules, by_all = Locator(Reference()).locate_string, Locator(Reference((), index)).locate_string
    named = names_a_place()
    gold: list[Pair] = []
    for name, rows in (("s2aff", s2aff()), ("RORacle, odd ids", roracle())):
        pairs, excluded = labelled(rows, countries)
        gold += pairs
        naming = [pair for pair in pairs if named(pair.text)]
        score(f"{name}, naming a country or US state, rules only", naming, by_rules, excluded=excluded)
        score(f"{name}, all, with ROR", pairs, by_all, excluded=excluded)
    score("both, naming one, rules only (goals 0.995 and 0.98)", [p for p in gold if named(p.text)], by_rules, worst=0)
    score("both, all, with ROR (goals 0.98 and 0.90)", gold, by_all, worst=0)
    silver = missing_country()
    score("OpenAlex had no country (silver; goals: answered 0.90, same 0.95)", silver, by_all)
    papers = venues()
    score("venues, accepted papers (silver)", papers, by_all)
    own = own_works()
    score("OpenAlex' own works (string against institution; silver)", own, by_all)
    by_rule([*gold, *(pair for pair in papers if not names_greater_china(pair.text))], by_all)
    before_and_after(Reference((), index))
    speed([pair.text for pair in (*gold, *silver, *own, *papers)], index)


if __name__ == "__main__":
    main()
