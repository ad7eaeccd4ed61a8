"""`collab export`: a slice of a release as files for other tools, with a README beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.ask import CorpusOption, FieldOption, FromOption, PolicyOption, ReleaseOption, ToOption
from flows.commands.base import command, console, export_app
from schemas.settings import load_settings
from tasks.releases.exports import export_eto, export_matrix, export_network
from tasks.releases.release import open_release

OutOption = Annotated[Path, typer.Option("--out", help="Folder to write into; files of the same names are replaced.")]


@command(export_app, "network")
def network(
    out: OutOption,
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    release: ReleaseOption = None,
) -> None:
    """The collaboration network: GraphML and GEXF (Gephi), Pajek (VOSviewer)."""
    with open_release(load_settings(), release) as found:
        _say(export_network(found, found.slice(corpus, policy, field, first, last), out))


@command(export_app, "matrix")
def matrix(
    out: OutOption,
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    release: ReleaseOption = None,
) -> None:
    """The pair matrix as CSV, square and long."""
    with open_release(load_settings(), release) as found:
        _say(export_matrix(found, found.slice(corpus, policy, field, first, last), out))


@command(export_app, "eto")
def eto(
    out: OutOption,
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    release: ReleaseOption = None,
) -> None:
    """Publications and citations in the column layout of ETO's Country AI Activity Metrics; all years and fields."""
    with open_release(load_settings(), release) as found:
        _say(export_eto(found, corpus, policy, out))


def _say(written: list[Path]) -> None:
    for path in written:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
