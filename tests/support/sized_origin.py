"""An API whose every answer is as long as its path's last segment says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = bytes(64 * 1024)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        length = int(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for start in range(0, length, len(PIECE)):
            self.wfile.write(PIECE[: length - start])

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the sidecar has given up a client's answer
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Nothing: thousands of requests."""


@contextmanager
def sized_origin() -> Iterator[str]:
    """Its URL while the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
