"""Files for other tools. Each folder has a README.txt that says what the numbers are: units, rule, policy, span,
caveats.

A release holds `exports/<corpus>/<policy>/`; `collab export` writes the same for any slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from schemas.errors import UsageError
from schemas.fields import ALL
from schemas.places.territories import policies
from tasks.releases.eto import write_eto
from tasks.releases.networks import Collaboration, read_collaboration, write_matrix, write_network, write_pairs
from tasks.releases.release import Release, Slice, world_sums

README = "README.txt"
NETWORK_FIELDS = ("ai", ALL)  # of which a release holds networks and matrices; any other by `collab export`

_MATRIX_TEXT = """\
{stem}.csv: papers with authors in both territories; codes across and down, most papers first. The diagonal is
    empty. Row sums are not the international papers of a territory: a paper with three countries is in three cells.
    Take papers_international_a and _b of pairs-*.csv as n in an index.
"""
_PAIRS_TEXT = """\
{stem}.csv: the same in long form. papers_with_unknown: those with an author whose country is not known. score: sum
    of both territories' shares (Nature Index bilateral collaboration score). citations: of these papers, whole.
    papers_international_*: papers of the territory with another known one. salton_intl: papers divided by the root
    of the product of the two.
"""
_NETWORK_TEXT = """\
{stem}.graphml, {stem}.gexf (Gephi), {stem}.net (Pajek, VOSviewer): the network. Nodes: known territories, with
    papers and papers_international. Edges: pairs; weight and papers are the joint papers, score and salton as in
    pairs-*.csv. Pajek holds names and weights only. VOSviewer normalises by links, not by papers: what it shows as
    association strength is vosviewer_strength of the view pair_indices.
"""
_ETO_TEXT = """\
publications_*.csv: the column layout of ETO's Country AI Activity Metrics, with ETO's names of countries where it
    has one ("China (mainland)" only where Hong Kong and Macao count for themselves). Field All is all of AI, each
    paper once; fields overlap, never sum over them. complete: whether nearly all papers of the year can be expected
    to be counted (table completeness). All years. The numbers are ours: other corpus, other definition of AI; the
    row Unknown counts papers with an author whose country is not known. No groups of countries are mixed in.
    num_citations is empty where the source of the corpus counts no citations (venue lists).
"""
_COMMON = """\
Whole counting: a paper counts 1 for each territory and each pair it has. Counted: works that are not retracted, of
counted types, one for each DOI. Counts of pairs and international papers are lower bounds: an author without a
known country may add one. Small pairs stay; below 25 papers a rate says little. Text that a spreadsheet would take
for a formula has an apostrophe in front. NA is the code of Namibia, and pandas drops it unless it is told:
pandas.read_csv(file, keep_default_na=False, na_values=[""]).
"""


def write_exports(release: Release, folder: Path) -> list[Path]:
    """Everything a release holds for other tools; returns the files."""
    written: list[Path] = []
    for corpus in release.names("corpus"):
        for policy in release.names("policy"):
            place = folder / _plain(corpus) / _plain(policy)
            place.mkdir(parents=True)
            written += write_eto(release, corpus, policy, place)
            texts = [_ETO_TEXT]
            for field in NETWORK_FIELDS:
                if not release.has_works(corpus, policy, field):
                    continue
                complete = release.complete_years(corpus, field)
                of = release.slice(corpus, policy, field, complete[0] if complete else None)
                found = read_collaboration(release, of)
                files, text = _write_all(found, place)
                written += files
                texts.append(f"Field {field}, {_span(release, of)}\n{text}")
            written.append(_write_readme(place, release, corpus, policy, texts))
    return written


def export_network(release: Release, of: Slice, folder: Path) -> list[Path]:
    """Network of a slice, with its README."""
    return _export(release, of, folder, _network, "network")


def export_matrix(release: Release, of: Slice, folder: Path) -> list[Path]:
    """Matrix of a slice, and its long form, with their README."""
    return _export(release, of, folder, _matrix, "matrix")


def export_eto(release: Release, corpus: str, policy: str, folder: Path) -> list[Path]:
    """ETO's layout, with its README.

    Raises:
        UsageError: unknown corpus or policy, or the folder cannot be written.
    """
    release.check("corpus", corpus)
    release.check("policy", policy)

    def write() -> list[Path]:
        files = write_eto(release, corpus, policy, folder)
        return [*files, _write_readme(folder, release, corpus, policy, [_ETO_TEXT], "eto")]

    return _into(folder, write)


def _export(
    release: Release,
    of: Slice,
    folder: Path,
    write: Callable[[Collaboration, Path], tuple[list[Path], str]],
    about: str,
) -> list[Path]:
    if not release.has_works(of.corpus, of.policy, of.field):
        raise UsageError(f"no counted works in field {of.field} of corpus {of.corpus}", "choose another --field")

    def write_all() -> list[Path]:
        files, text = write(read_collaboration(release, of), folder)
        heading = f"Field {of.field}, {_span(release, of)}\n"
        name = f"{about}-{_plain(of.field)}"
        return [*files, _write_readme(folder, release, of.corpus, of.policy, [heading + text], name)]

    return _into(folder, write_all)


def _into(folder: Path, write: Callable[[], list[Path]]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return write()
    except OSError as exc:
        raise UsageError(f"cannot write into {folder}: {exc.strerror}", "give a folder that you may write") from None


def _write_all(found: Collaboration, folder: Path) -> tuple[list[Path], str]:
    matrix, about_matrix = _matrix(found, folder)
    network, about_network = _network(found, folder)
    return matrix + network, about_matrix + about_network


def _matrix(found: Collaboration, folder: Path) -> tuple[list[Path], str]:
    field = _plain(found.of.field)
    matrix, pairs = folder / f"matrix-{field}.csv", folder / f"pairs-{field}.csv"
    write_matrix(found, matrix)
    write_pairs(found, pairs)
    return [matrix, pairs], _MATRIX_TEXT.format(stem=matrix.stem) + _PAIRS_TEXT.format(stem=pairs.stem)


def _network(found: Collaboration, folder: Path) -> tuple[list[Path], str]:
    stem = f"network-{_plain(found.of.field)}"
    return write_network(found, folder, stem), _NETWORK_TEXT.format(stem=stem)


def _write_readme(
    folder: Path, release: Release, corpus: str, policy: str, texts: list[str], about: str | None = None
) -> Path:
    """What the files say; `about` names files of one kind, so that those of another may lie beside them."""
    rule = next((one.text for one in policies() if one.id == policy), "")
    head = [
        f"Collab Atlas, release {release.release_id}",
        f"Corpus {corpus}; corpora overlap and are never summed.",
        f"Territory policy {policy}: {rule}",
        "Unit: papers, unless a column says otherwise.",
    ]
    path = folder / (f"README-{about}.txt" if about else README)
    path.write_text("\n".join([*head, "", _COMMON, *texts]), encoding="utf-8")
    return path


def _span(release: Release, of: Slice) -> str:
    """The years, how complete they are, and how much of the papers is unknown."""
    (world,) = release.rows(world_sums(of))
    lacking = release.lacking(of)
    said = f"of which not complete or empty: {lacking}" if lacking else "all complete"
    return (
        f"{of.years} ({said}): {world.papers:,} papers, {world.papers_international:,} international, at most"
        f" {world.papers_international + world.papers_undetermined:,}; {world.papers_with_unknown:,} with an unknown"
        " part"
    )


def _plain(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w-]", "_", name) or "_"
