"""Secrets are written nowhere; what sources send is harmless where people read it, and bounded.

More of the same beside what it is about: rules of single values in test_rules.py, faults of the API in
test_openalex_faults.py, spreadsheets in test_spreadsheets.py, addresses of warehouses in test_foreign_servers.py.
"""

from __future__ import annotations

import csv
import gzip
import json
import logging
import unicodedata
import zlib
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from pydantic import SecretStr

import tasks.sources.files
from flows.orchestration.automations import put_blocks
from schemas import tables as t
from schemas.errors import LONGEST_MESSAGE, CollabError, SourceError
from schemas.settings import Settings, load_settings
from tasks.landing.land import Incoming, Landing, land
from tasks.releases.spreadsheets import FORMULA
from tasks.sources.files import Root
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.alerts import addresses
from tests.factory import author, author_at, rows, stored, work, write_snapshot
from tests.replay import ReplayServer
from tests.waiting import wait

PLANTED = "planted-4711"
PASSWORD, KEY = f"{PLANTED}-password", f"{PLANTED}-key"
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # controls, direction marks, half characters, line separators

NASTY = (
    "<img src=x onerror=alert(1)><script>alert(2)</script> [bold]x[/bold] `x` [x](javascript:alert(1)) $(reboot) |"
    " \x1b[31mred \x1b]0;title\x07 \x9b2J \u202egnp.exe \u2066 \u200b \u2028 \r\n \x00"
)
SUM = "=cmd|' /C calc'!A0"


def secret_settings() -> dict[str, str]:
    """A planted value for every secret setting there is."""
    names = [
        name for name, info in Settings.model_fields.items() if SecretStr in getattr(info.annotation, "__args__", ())
    ]
    return {name: f"https://hooks.example.org/{PLANTED}-{name}" for name in names} | {"openalex_api_key": KEY}


def contents_of(folder: Path) -> Iterable[tuple[str, bytes]]:
    """Every file below a folder, packed ones unpacked as well."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        raw = path.read_bytes()
        yield str(path), raw
        if raw[:2] == b"\x1f\x8b":
            yield f"{path} unpacked", gzip.decompress(raw)
        elif b"\x1f\x8b\x08" in raw[:4096]:  # a page of the harvest has a line in front
            try:
                yield f"{path} unpacked", gzip.decompress(raw[raw.index(b"\x1f\x8b\x08") :])
            except (OSError, EOFError, zlib.error):
                assert path.suffix != ".gz", path  # a server's own file holds these three bytes by chance


@pytest.fixture
def planted(postgres, monkeypatch) -> None:
    """Every secret there is, and the password of a warehouse on PostgreSQL."""
    for name, value in secret_settings().items():
        monkeypatch.setenv(f"COLLAB_{name.upper()}", value)
    mail = {"FROM": "a@example.org", "TO": "b@example.org", "HOST": "mail.example.org", "USER": "somebody"}
    for name, value in mail.items():
        monkeypatch.setenv(f"COLLAB_ALERT_SMTP_{name}", value)
    at = sa.make_url(postgres.new_database())
    monkeypatch.setenv("COLLAB_WAREHOUSE_URL", at.set(password=PASSWORD).render_as_string(hide_password=False))
    monkeypatch.setenv("COLLAB_OPENALEX_ATTEMPTS", "1")


def works_of_today(last: int) -> list[dict]:
    today = f"{utc_now():%Y-%m-%d}"
    return [work(n, publication_date=today, publication_year=int(today[:4])) for n in range(11, last)]


@pytest.mark.engines("duckdb")
@pytest.mark.prefect
def test_planted_secrets_are_not_in_the_database_of_prefect(prefect_server, planted, collab, monkeypatch):
    """Parameters, states, logs and artifacts of nights that are good, have a wrong key, and have no warehouse; and the
    blocks that alerts go by."""
    from flows.nightly import nightly

    with ReplayServer(works_of_today(14), key=KEY) as server:
        monkeypatch.setenv("COLLAB_OPENALEX_URL", server.url)
        with monkeypatch.context() as wrong:
            wrong.setenv("COLLAB_OPENALEX_API_KEY", f"{PLANTED}-wrong")
            assert nightly(source="openalex-api", return_state=True).is_failed()
        assert nightly(source="openalex-api", return_state=True).is_completed()
        with monkeypatch.context() as away:
            away.setenv("COLLAB_WAREHOUSE_URL", f"postgresql://me:{PASSWORD}@127.0.0.1:1/atlas")
            last = nightly(source="openalex-api", return_state=True)
            assert last.is_failed()
    with get_client(sync_client=True) as client:
        blocks = put_blocks(client, addresses(load_settings()))
        assert len(blocks) == 2
        this = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[last.state_details.flow_run_id]))

        def is_logged() -> bool:  # logs are sent in the background
            return any("Finished in state Failed" in log.message for log in client.read_logs(this))

        wait(is_logged, 30, "the log of the last run", pause=0.5)
        file = Path(sa.make_url(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).database)
        held = b"".join(part.read_bytes() for part in sorted(file.parent.glob(f"{file.name}*")))
        for block in blocks.values():
            client.delete_block_document(block)
    for known in (b"what-happened", b"Finished in state Failed", b"check COLLAB_OPENALEX_API_KEY", b"127.0.0.1:1"):
        assert known in held
    assert PLANTED.encode() not in held


@pytest.mark.engines("duckdb")
def test_planted_secrets_are_written_nowhere(postgres, planted, collab, tmp_path, monkeypatch, caplog, capfd):
    """Good nights, one with a wrong key, one that is stopped, and one without a server, into PostgreSQL."""
    printed: list[str] = []

    def call(*args: object, ends_with: int = 0) -> None:
        code, output = collab(*args)
        assert code == ends_with, output
        printed.append(output)

    night = ("run", "--source", "openalex-api", "--no-prefect")
    with caplog.at_level(logging.DEBUG), ReplayServer(works_of_today(40), key=KEY) as server:
        monkeypatch.setenv("COLLAB_OPENALEX_URL", server.url)
        with monkeypatch.context() as wrong:
            wrong.setenv("COLLAB_OPENALEX_API_KEY", f"{PLANTED}-wrong")
            call("check", ends_with=1)
            call(*night, ends_with=1)
        call("check")
        call(*night)
        call("status")
        with monkeypatch.context() as away:
            away.setenv("COLLAB_WAREHOUSE_URL", f"postgresql://me:{PASSWORD}@127.0.0.1:1/atlas")
            call(*night, ends_with=1)
            call("status", ends_with=1)
        root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(50, publication_year=2999)]})
        monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
        call("run", "--snapshot", root, "--no-prefect", ends_with=1)
        call("status", ends_with=1)
        stored = load_settings()
    assert f"Bearer {KEY}" in {call.headers.get("authorization") for call in server.calls}  # it was in use
    said = "".join(printed) + caplog.text + "".join(capfd.readouterr()) + repr(stored) + str(stored)
    assert "quarantined_share" in said
    assert [line for line in said.splitlines() if PLANTED in line] == []
    with Warehouse.open(stored) as warehouse, warehouse.reading() as conn:
        for table in t.metadata.sorted_tables:
            assert PLANTED not in str(conn.execute(sa.select(table)).all()), table.fullname
    kinds = set()
    for folder in (stored.home, postgres.folder):
        for name, raw in contents_of(folder):
            assert PLANTED.encode() not in raw, name
            kinds.add(Path(name.split()[0]).suffix)
    assert {".gz", ".json", ".parquet", ".duckdb", ".csv"} <= kinds


def raw_work(number: int, before: bytes, after: bytes) -> bytes:
    return json.dumps(work(number)).encode().replace(before, after)


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
HOSTILE = [
    work(11, title=NASTY),
    work(12, [author(strings=[f"{NASTY}, Brazil", f"{SUM}, India"])], title=SUM),
    work(
        13, [author_at(display_name=NASTY, type=NASTY, ror=NASTY)], language=NASTY, doi=f"10.1234/{NASTY}", type=NASTY
    ),
    work(14, [author_at(country_code=NASTY)]),
    work(15, id=NASTY),
    work(16, updated=NASTY, publication_date=NASTY),
    work(17, [author("US") | {"author": {"id": NASTY}}]),
    work(18, referenced_works=[NASTY]),
    work(19, [author_at(id=NASTY)]),
    work(20, abstract_inverted_index={NASTY: [0], "x": [10**9], "y": [-1]}, **{NASTY: 1}),
    work(21, primary_location={"source": {"id": NASTY, "display_name": NASTY}}),
    work(22, publication_year=10**30),
    work(23, cited_by_count=10**400),
    raw_work(24, b'"cited_by_count": 1', b'"cited_by_count": 1e999'),
    raw_work(25, b'"Work 25"', rb'"\ud800"'),
    raw_work(26, b'"Work 26"', b'"\xed\xa0\x80"'),
    work(27, title="x" * 10_000_000),
    DEEP,
    raw_work(28, b'"abstract_inverted_index": null', b'"abstract_inverted_index": ' + DEEP),
    gzip.compress(gzip.compress(b"0" * 1_000_000)).replace(b"\n", b" "),
    b"\x00" * 1000,
    b'{"id": "https://openalex.org/W29", "title": "' + b"z" * 40_000_000 + b'"}',  # no end in sight
]
STORED = {11, 12, 13, 20, 21, 27}


def unseen(text: str) -> set[str]:
    return {hex(ord(char)) for char in text if char != "\n" and unicodedata.category(char) in UNSEEN}


@pytest.mark.engines("duckdb")
def test_hostile_text_is_harmless_wherever_people_read_it(collab, tmp_path, monkeypatch, caplog):
    for name, value in {"MAX_QUARANTINED_SHARE": 1, "MAX_EXPANSION": 1_000_000}.items():
        monkeypatch.setenv(f"COLLAB_{name}", str(value))
    root = write_snapshot(tmp_path / "s", {"2026-01-01": HOSTILE}, deleted={99: "2026-01-01"})
    (root / "data/jsonl/works/deleted_ids.csv").write_text(f"work_id,deleted_date\n{SUM},{SUM}\n\x1b[31m,\u202e\n")
    code, output = collab("run", "--snapshot", root, "--no-prefect")
    assert code == 0, output
    home = load_settings().home
    assert stored(load_settings()) == STORED
    with Warehouse.open(load_settings()) as warehouse:
        held = rows(warehouse, sa.select(t.quarantine.c.source_key, t.quarantine.c.rule))
        assert len(held) == len(HOSTILE) - len(STORED) + 2
    spoken = output
    for command in (
        *(["quarantine", "show", key] for key in {row["rule"]: row["source_key"] for row in held}.values()),
        *(["explain", f"W{number}"] for number in (11, 12, 13)),
        ["quarantine", "list"],
        ["locate", NASTY, SUM],
        ["status"],
        ["report", "--field", "all"],
        ["verify"],
        ["ask", "partners", "--country", "US", "--field", "all"],
        ["ask", "partners", "--country", "US", "--field", "all", "--format", "csv"],
        ["ask", "changes", "--format", "json"],
        *(["export", kind, "--out", tmp_path / "out"] for kind in ("matrix", "eto")),
    ):
        code, output = collab(*command)
        assert code == 0, output
        assert unseen(output) == set(), command
        spoken += output
    assert "[31m" in spoken  # it was shown, without what makes it a command
    assert unseen(caplog.text) == set()
    release = home / "published" / "current"
    tables = [path for folder in (release, tmp_path / "out") for path in folder.rglob("*.csv")]
    assert tables
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert not cell.startswith(FORMULA) or cell.lstrip("-").replace(".", "").isdigit(), path
                    assert unseen(cell) == set(), path
    for path in release.glob("*.parquet"):
        for row in duckdb.read_parquet(str(path)).fetchall():
            assert unseen("".join(str(value) for value in row)) == set(), path
    assert (release / "manifest.json").read_text().isascii()


def test_messages_of_errors_are_one_printable_line_with_an_end():
    error = SourceError(f"{NASTY}{'x' * 10**6}", "run again")
    assert unseen(str(error)) == set()
    assert "\n" not in str(error)
    assert len(error.message) == LONGEST_MESSAGE
    assert str(error).endswith("... -> run again")
    kind, values = error.__reduce__()
    assert str(kind(*values)) == str(error)
    assert str(CollabError("Müller, 中国: 5 % of 1,000", "mend")) == "Müller, 中国: 5 % of 1,000 -> mend"


def test_a_part_that_never_ends_is_not_landed(tmp_path):
    sent = []

    def blocks():
        for block in repeat(b"x" * 1000):
            sent.append(len(block))
            yield block

    landing = Landing("l", "openalex-snapshot", "w", "works", ())
    with pytest.raises(SourceError, match="has more than 5000 bytes, the manifest says 5000"):
        land(tmp_path / "landing", tmp_path / "work", landing, [Incoming("p", blocks(), 5000, 1)], 200)
    assert sum(sent) == 6000
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_is_read_whole_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.sources.files, "MOST_BYTES", 100)
    (tmp_path / "manifest.json").write_bytes(b"0" * 101)
    with pytest.raises(SourceError, match="larger than 100 bytes"):
        Root(str(tmp_path)).read("manifest.json")


def test_a_deep_manifest_is_refused_in_one_line(collab, tmp_path):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    (root / "data/jsonl/works/manifest.json").write_bytes(DEEP)
    code, output = collab("run", "--snapshot", root, "--no-prefect")
    assert code == 1
    assert len(output.splitlines()) == 1
    assert "the manifest is cut or of another layout" in output
