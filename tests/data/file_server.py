"""A local HTTP server for tests of downloads: it resumes, breaks off and refuses on request."""

import contextlib
import hashlib
import http.server
import threading

DATA = bytes(range(256)) * 2000  # 512,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content``, a dict of path to bytes, and logs the Range headers in ``ranges``.

    Each request ends early after the next number of ``breaks`` in bytes, and gets the next of
    ``statuses`` instead of an answer, as long as there are any.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = {"/file": DATA}
        self.breaks = []
        self.ranges = []
        self.statuses = []
        self.with_etag = True
        self.with_range = True
        self.with_length = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with Range and If-Range, as RFC 7233 defines them."""

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path not in server.content:
            return self.send_error(404)
        content = server.content[self.path]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if self.headers.get("Range") and server.with_range and self.headers.get("If-Range") == etag:
            start = int(self.headers["Range"][len("bytes=") : -1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.with_etag:
            self.send_header("ETag", etag)
        if server.with_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_server():
    """A Server that answers until the end of the context."""
    with Server() as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield server
        server.shutdown()
        thread.join()
