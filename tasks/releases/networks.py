"""The collaboration network of a slice, and its pair matrix, in the formats of other tools.

Gephi opens GraphML and GEXF, Pajek and VOSviewer open the Pajek file. Nodes are known territories with papers, also
those without a partner; edges are pairs. A paper with three countries is on three edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from schemas.places.territories import UNKNOWN
from tasks.countries.places import name_of
from tasks.releases.release import Release, Slice, country_sums, pair_sums
from tasks.releases.spreadsheets import write_csv

if TYPE_CHECKING:
    import networkx as nx

PAIR_COLUMNS = (
    "territory_a",
    "name_a",
    "territory_b",
    "name_b",
    "papers",
    "papers_with_unknown",
    "score",
    "citations",
    "papers_international_a",
    "papers_international_b",
    "salton_intl",
)


@dataclass(frozen=True)
class Collaboration:
    """Counts of a slice: territories and pairs, most papers first."""

    of: Slice
    countries: Sequence[sa.Row[Any]]
    pairs: Sequence[sa.Row[Any]]

    def salton(self, pair: sa.Row[Any]) -> float | None:
        """Salton's cosine on international papers of the span: c / sqrt(n_a n_b); None where undefined."""
        a, b = (self.international[code] for code in (pair.territory_a, pair.territory_b))
        return pair.papers / sqrt(a * b) if a and b else None

    @cached_property
    def international(self) -> dict[str, int]:
        """International papers of each territory."""
        return {row.territory: row.papers_international for row in self.countries}


def read_collaboration(release: Release, of: Slice) -> Collaboration:
    """Read the counts of a slice."""
    countries = [row for row in release.rows(country_sums(of)) if row.papers and row.territory != UNKNOWN]
    return Collaboration(of, countries, [row for row in release.rows(pair_sums(of)) if row.papers])


def as_graph(found: Collaboration) -> nx.Graph:
    """The network: nodes are codes with label, name, papers and papers_international; edges have weight and papers (the
    same), score and, where it is defined, salton."""
    import networkx as nx  # a fifth of a second that other commands need not wait for

    graph = nx.Graph(name=f"{found.of.field}, {found.of.years}, corpus {found.of.corpus}, policy {found.of.policy}")
    for row in found.countries:
        name = name_of(row.territory)
        counts = {"papers": row.papers, "papers_international": row.papers_international}
        graph.add_node(row.territory, label=name, name=name, **counts)
    for row in found.pairs:
        salton = found.salton(row)
        defined = {} if salton is None else {"salton": salton}
        score = float(row.score)
        graph.add_edge(row.territory_a, row.territory_b, weight=row.papers, papers=row.papers, score=score, **defined)
    return graph


def write_network(found: Collaboration, folder: Path, stem: str) -> list[Path]:
    """Write GraphML, GEXF and Pajek; returns the files."""
    import networkx as nx

    graph = as_graph(found)
    graphml, gexf, pajek = (folder / f"{stem}.{ending}" for ending in ("graphml", "gexf", "net"))
    nx.write_graphml(graph, graphml)
    nx.write_gexf(graph, gexf)
    pajek.write_text(_pajek(graph), encoding="utf-8")
    return [graphml, gexf, pajek]


def _pajek(graph: nx.Graph) -> str:
    """Pajek's own layout, numbered vertices and weighted edges. That of networkx writes coordinates and shapes that
    VOSviewer has no use for, and no capitals."""
    number = {code: at for at, code in enumerate(graph, start=1)}
    labels = {code: name.replace('"', "'") for code, name in graph.nodes(data="label")}
    vertices = [f'{at} "{labels[code]}"' for code, at in number.items()]
    edges = [f"{number[a]} {number[b]} {weight}" for a, b, weight in graph.edges(data="weight")]
    return "\n".join([f"*Vertices {len(vertices)}", *vertices, "*Edges", *edges]) + "\n"


def write_matrix(found: Collaboration, path: Path) -> None:
    """Square matrix of joint papers: codes across and down, most papers first, 0 where there are none, an empty
    diagonal."""
    codes = [row.territory for row in found.countries]
    joint = {(row.territory_a, row.territory_b): row.papers for row in found.pairs}
    rows = ([a, *(None if a == b else joint.get((min(a, b), max(a, b)), 0) for b in codes)] for a in codes)
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, ["territory", *codes], rows)


def write_pairs(found: Collaboration, path: Path) -> None:
    """The same in long form: a line a pair, with what its Salton measure is computed from."""
    rows = (
        (
            row.territory_a,
            name_of(row.territory_a),
            row.territory_b,
            name_of(row.territory_b),
            row.papers,
            row.papers_with_unknown,
            row.score,
            row.citations,
            found.international[row.territory_a],
            found.international[row.territory_b],
            found.salton(row),
        )
        for row in found.pairs
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, PAIR_COLUMNS, rows)
