"""Landings on disk: what their manifests say, and what is read of their parts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tasks.land import MANIFEST, WORKS, Incoming, Landing, land, read_landing


def landed(home: Path, *parts: bytes) -> tuple[Path, Landing]:
    """A landing of some parts, each the lines that it holds, and its folder."""
    incoming = [Incoming(f"p{number}", [gzip.compress(content)], None, None) for number, content in enumerate(parts)]
    identity = Landing("w.r0", "test", "w", WORKS, ())
    landing = land(home / "landing", home / "work", identity, incoming, 1000)
    return home / "landing" / landing.source / landing.landing_id, landing


def test_landings_of_releases_that_told_of_cut_lists_are_read(tmp_path):
    folder, landing = landed(tmp_path, b"{}\n")
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"lists_cut": False}))
    assert read_landing(folder) == landing
