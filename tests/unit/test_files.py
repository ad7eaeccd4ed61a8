"""Files at addresses: what a web server, a full disk or a closed folder answers is an error that says what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec.config
import pytest

from schemas.errors import SourceError, SourceUnavailable, UsageError
from schemas.settings import load_settings
from tasks.sources import files, ror_dump, venue_list
from tasks.sources.files import Root, file_system
from tasks.sources.openalex_snapshot import Snapshot

CONTENT = b"x" * 1000


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, or CONTENT whole or cut."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        asked = self.path.strip("/").split("/")[-1]
        status = int(asked) if asked.isdigit() else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(CONTENT) if status == 200 else 0))
        self.end_headers()
        if status == 200 and self.command == "GET":
            self.wfile.write(CONTENT[:10] if asked == "cut" else CONTENT)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a web server that answers so."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((status, SourceUnavailable) for status in ("500", "503", "429", "408", "cut")),
        *((status, SourceError) for status in ("401", "403", "404", "410")),
    ],
)
def test_what_a_server_answers_instead_of_a_file_is_said(address, path, kind, tmp_path):
    root, copy, asked = Root(address), tmp_path / "copy", f"{address}/{path}"
    reads = (
        lambda: root.read(path),
        lambda: venue_list._copy(*file_system(asked), copy),
        lambda: ror_dump._copy(asked, copy),
    )
    for read in reads:
        with pytest.raises(SourceError) as failed:
            read()
        assert type(failed.value) is kind
        assert path in str(failed.value)
    assert root.read("whole") == CONTENT


def test_only_a_file_that_is_known_not_to_be_there_is_not_there(address):
    root = Root(address)
    assert root.exists("whole")
    assert not root.exists("404")
    assert not root.exists("410")
    for status in ("403", "500", "503"):
        with pytest.raises(SourceError, match=f"answered {status}"):
            root.exists(status)


def test_a_file_without_end_is_not_read_into_memory(address, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", len(CONTENT))
    assert Root(address).read("whole") == CONTENT
    monkeypatch.setattr(files, "MOST_BYTES", len(CONTENT) - 1)
    with pytest.raises(SourceError, match="larger than 999 bytes"):
        Root(address).read("whole")


def test_a_bucket_is_public_unless_fsspec_was_told_who_asks(monkeypatch):
    assert file_system("s3://bucket/works")[0].anon
    monkeypatch.setitem(fsspec.config.conf, "s3", {"key": "k", "secret": "s"})  # as FSSPEC_S3_KEY and _SECRET make it
    asking = file_system("s3://bucket/works")[0]
    assert (asking.anon, asking.key, asking.secret) == (False, "k", "s")


def test_a_list_of_deletions_that_a_server_will_not_give_is_no_empty_one(address, monkeypatch):
    snapshot = Snapshot(Root(address))
    monkeypatch.setattr("tasks.sources.openalex_snapshot.DELETED_IDS", "503")
    with pytest.raises(SourceUnavailable, match="answered 503"):
        snapshot.read_deletions(None)
    monkeypatch.setattr("tasks.sources.openalex_snapshot.DELETED_IDS", "404")
    assert snapshot.read_deletions(None) is None


def test_a_server_that_is_not_there_is_an_error_of_the_source(monkeypatch):
    with pytest.raises(SourceUnavailable):
        Root("http://127.0.0.1:1").exists("x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SourceError):
        Root("s3://bucket").read("x")
    with pytest.raises(SourceError):
        Root("s3://BAD!_bucket").read("x")


@pytest.mark.parametrize("address", ["github://x", "dir://x", "zip://x", "gopher://x"])
def test_an_address_of_no_use_is_one_line(address):
    with pytest.raises(UsageError, match="cannot open"):
        Root(address)


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(SourceError, match="too long"):
        Root(str(tmp_path / ("a" * 300)))


def test_a_pipe_that_nobody_may_ever_write_to_is_refused(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    settings = load_settings(home=tmp_path, venue_list=str(pipe), venue_corpus="c")
    folder = load_settings(home=tmp_path, venue_list=str(tmp_path), venue_corpus="c")
    for call in (
        lambda: Root(str(tmp_path)).read("pipe.csv"),
        lambda: venue_list.bring(settings, tmp_path / "copies"),
        lambda: venue_list.bring(folder, tmp_path / "copies"),
        lambda: venue_list.try_files(settings),
        lambda: ror_dump.read_dump(str(pipe), tmp_path),
    ):
        with pytest.raises(
            SourceError, match=r"pipe\.csv: it is no regular file; save it as one -> check the address"
        ) as caught:
            call()
        assert not isinstance(caught.value, SourceUnavailable)  # it stays one however often it is asked
    with pytest.raises(SourceError, match="no folder"):
        Root(str(pipe))


def test_lists_in_a_folder_are_found_whatever_the_case_and_others_are_named(tmp_path, caplog):
    folder = tmp_path / "lists"
    folder.mkdir()
    for name in ("one.csv", "TWO.CSV", "three.JSONL.GZ", "notes.txt"):
        (folder / name).write_text("x")
    settings = load_settings(home=tmp_path, venue_list=str(folder), venue_corpus="c")
    with caplog.at_level("INFO", "collab"):
        assert [file.name for file in venue_list.bring(settings, tmp_path / "a")] == [
            "TWO.CSV",
            "one.csv",
            "three.JSONL.GZ",
        ]
    assert "left out: notes.txt" in caplog.text
    (folder / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(SourceError, match=r"gone\.csv"):
        venue_list.bring(settings, tmp_path / "b")
