"""The API in the pod: GET /<milliseconds>/... answers after that time, for a minute."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        time.sleep(int(self.path.split("/")[1]) / 1000)
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
