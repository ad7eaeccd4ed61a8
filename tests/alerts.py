"""Somebody who gets alerts: a webhook and a mail server on this machine."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "token-of-a-test"


class Receiver(ExitStack):
    """Collects what arrives while it is open."""

    def __init__(self, status: int = 200) -> None:
        super().__init__()
        self.posted: list[dict] = []
        self.mails: list[str] = []
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), self._web(status))
        self.post = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._post())
        for server in (self.web, self.post):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.callback(server.server_close)
            self.callback(server.shutdown)

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.web.server_address[1]}/hook/{TOKEN}"

    @property
    def settings(self) -> dict[str, object]:
        mail = {"host": "127.0.0.1", "port": self.post.server_address[1], "security": "insecure"}
        mail |= {"from": "atlas@example.org", "to": "a@example.org, b@example.org"}
        return {"alert_webhook": self.webhook, **{f"alert_smtp_{name}": value for name, value in mail.items()}}

    def _web(self, status: int) -> type[BaseHTTPRequestHandler]:
        posted = self.posted

        class Web(BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args):
                pass

        return Web

    def _post(self) -> type[socketserver.StreamRequestHandler]:
        mails = self.mails

        class Post(socketserver.StreamRequestHandler):
            def handle(self):
                self.answer("220 here")
                for line in self.rfile:
                    verb = line[:4].upper()
                    if verb == b"DATA":
                        self.answer("354 go on")
                        mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                    self.answer("250 well" if verb != b"QUIT" else "221 bye")

            def answer(self, text: str):
                self.wfile.write(f"{text}\r\n".encode())

        return Post
