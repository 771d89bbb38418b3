"""JSON over HTTP on a port of its own: what the stand-ins for APIs have in common."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Served:
    """Answers requests by its `handle`, with its `headers`, from now until it is closed."""

    headers: dict[str, str] = {}  # noqa: RUF012

    def __init__(self):
        handler = type("Handler", (_Handler,), {"api": self})
        self.http = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def handle(self, method, path, query, body, headers):
        """Status and content of an answer; None closes the connection.

        The content is JSON or, as a string, plain; the content of a watch is an iterator of lines.
        """
        raise NotImplementedError

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256

    def handle_error(self, request, client_address):
        # A client that hangs up is no news.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out in two writes, of which the second would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def _serve(self):
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(text) if text else None
        query = parse_qs(url.query)
        answer = self.api.handle(self.command, url.path, query, body, self.headers)
        if answer is None:
            self._hang_up()
            return
        code, content = answer
        if not isinstance(content, dict | str):
            self._stream(content)
            return
        plain = isinstance(content, str)
        payload = (content if plain else json.dumps(content)).encode()
        self.send_response(code)
        for name, value in self.api.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _stream(self, lines):
        """Chunks, each as it comes; without the empty last one the connection broke."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line.encode()))
            if not line:
                return
        self._hang_up()

    def _hang_up(self):
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_):
        pass
