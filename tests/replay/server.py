"""The server: who asks, which fault, which answer, and how it goes over the wire."""

from __future__ import annotations

import gzip
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode

from tests.replay.answers import EDGE, ORIGIN, Answer, Refused, edge_error, not_found, redirect, too_long, unauthorized
from tests.replay.credits import KEYLESS_CREDITS, Ledger, check_plan, cost_of, key_of
from tests.replay.faults import Faults
from tests.replay.filters import check_commas
from tests.replay.index import Index
from tests.replay.listing import MOST_OF_REQUEST_LINE, list_works, selected

KEY = "secret-key-of-a-test"  # that a server takes if it is not told another
WORTH_PACKING = 1000  # bytes


@dataclass
class Call:
    """A request and how it was answered; the hook sees it before status and credits are known."""

    method: str
    path: str
    params: dict[str, str]
    status: int
    credits: int
    fault: str | None
    headers: dict[str, str]


class ReplayServer(AbstractContextManager["ReplayServer"]):
    """OpenAlex at `url`, over the works given, from entering the context to leaving it."""

    before: Callable[[Call], None] | None = None

    def __init__(
        self,
        works: Iterable[Mapping[str, Any]],
        *,
        key: str = KEY,
        daily_credits: int = 10_000,
        plan: str = "free",
        per_second: int | None = None,
        faults: Faults | None = None,
        keyless_cursor_is_refused: bool = True,
    ) -> None:
        self.calls: list[Call] = []
        self._key = key
        self._plan = plan
        self._keyless_cursor_is_refused = keyless_cursor_is_refused
        self._faults = faults or Faults()
        self._index = Index(works)
        self._of_key = Ledger(daily_credits, per_second)
        self._keyless = Ledger(KEYLESS_CREDITS, per_second)
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.replay = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()

    @property
    def credits_used(self) -> int:
        """Of the key, since the day began."""
        return self._of_key.used

    def put(self, work: Mapping[str, Any]) -> None:
        """Add a work, or replace it. The record must not be changed afterwards."""
        self._index.put(work)

    def remove(self, work_id: int) -> None:
        self._index.remove(work_id)

    def merge(self, work_id: int, into: int) -> None:
        """Remove a work; who asks for it is sent to another."""
        self._index.merge(work_id, into)

    def new_day(self) -> None:
        self._of_key.reset()
        self._keyless.reset()

    def answer(self, call: Call, request_line: str) -> Answer | None:
        """The answer to a request; None to hang up without one. Fills in the call."""
        with self._lock:
            call.fault = self._faults.next(call.path)
            self.calls.append(call)
        if self.before is not None:
            self.before(call)
        if call.fault == "reset":
            return None
        if call.fault == "slow":
            time.sleep(self._faults.slow_seconds)
        answer = self._faults.answer(call.fault, cost_of(call.path, call.params), self._of_key.limit)
        if answer is None:
            try:
                answer = self._right_answer(call, request_line)
            except Refused as refusal:
                answer = refusal.answer
        if call.fault == "short_page" and not answer.cut_short:  # not a list, or too few hits to leave one out
            call.fault = None
        if call.fault == "invalid_json":
            answer.body = answer.body[: len(answer.body) * 2 // 3]
        call.status = answer.status
        return answer

    def _right_answer(self, call: Call, request_line: str) -> Answer:
        """In the order of the service: key, plan, rate and budget, edge, and only then the origin."""
        key = key_of(call.headers, call.params)
        if key is not None and key != self._key:
            raise Refused(unauthorized())
        if self._plan == "free" or key is None:
            check_plan(call.params)
        if call.path == "/rate-limit":
            if key is None:
                message = "You must provide a valid API key to check rate limit status"
                raise Refused(unauthorized("Authentication required", message))
            return self._of_key.status(key)
        if key is None and call.path == "/works" and "cursor" in call.params and self._keyless_cursor_is_refused:
            raise Refused(unauthorized(message="Provide a valid API key"))
        ledger = self._keyless if key is None else self._of_key
        cost = cost_of(call.path, call.params)
        ledger.charge(cost)
        if call.fault not in {None, "short_page"}:  # what is lost on the way is not paid for
            ledger.refund(cost)
            cost = 0
        call.credits = cost
        self._check_edge(call, request_line)
        try:
            answer = self._origin(call)
        except Refused as refusal:
            answer = refusal.answer
        answer.headers |= ORIGIN | ledger.headers(cost)
        return answer

    def _check_edge(self, call: Call, request_line: str) -> None:
        if "limit" in call.params:
            message = "The 'limit' parameter is not valid. Did you mean 'per-page'? e.g. /works?search=foo&per-page=5"
            raise edge_error("limit_param", message)
        check_commas(call.params.get("filter", ""))
        if len(request_line) > MOST_OF_REQUEST_LINE:
            raise too_long(len(request_line))

    def _origin(self, call: Call) -> Answer:
        if call.path == "/works":
            return list_works(self._index, call.params, call.fault == "short_page")
        if call.path.startswith("/works/"):
            return self._single(call.path.removeprefix("/works/"), call.params)
        raise not_found()

    def _single(self, name: str, params: Mapping[str, str]) -> Answer:
        """A work with all its authors. Ids not in the form W123 are sent there; parameters but `select` are ignored."""
        fields = selected(params)
        number = re.fullmatch(r"(?:https?://openalex\.org/|openalex:)?w?(\d+)", name, re.IGNORECASE)
        doi = re.search(r"10\.\d+/\S+", name.lower())
        document = None
        if number is not None:
            target = self._index.merged_into(int(number[1])) or int(number[1])
            if name != f"W{target}":
                query = f"?{urlencode(params)}" if params else ""
                raise redirect(f"/works/W{target}{query}")
            document = self._index.get(target)
        elif doi is not None:
            document = self._index.with_doi(doi[0])
        if document is None:
            raise not_found()
        return Answer(200, document.full if fields is None else document.select(fields, in_list=False))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    replay: ReplayServer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connections: set[socket.socket] = set()

    def hang_up(self) -> None:
        """Close connections that clients keep alive: the thread of each waits in it for another request."""
        for connection in self.connections.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news; an error of the replay itself is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together: in two packets the second waits for the first's receipt
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def version_string(self) -> str:
        return "cloudflare"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `calls` is the log."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        params: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            params.setdefault(name, value)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, unquote(path).rstrip("/"), params, 0, 0, None, headers)
        answer = self.server.replay.answer(call, self.requestline)
        if answer is None:
            self.close_connection = True
            return
        self._send(answer, cut=call.fault == "cut_body")

    def _send(self, answer: Answer, cut: bool) -> None:
        body = answer.body
        headers = {"Content-Type": answer.content_type} | EDGE | answer.headers
        if len(body) > WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        if self.command != "HEAD":
            headers["Content-Length"] = str(len(body))
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
