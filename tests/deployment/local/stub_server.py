"""A stand-in for the model server that starts at once: `stub_server.py [FAULT] ARGUMENTS...`.

It takes our server's arguments, answers each POST with its version, keeps the request ids that it
saw (`GET /seen`), and has a fault: `500`, `slow:0.3`, `dies`, `never-ready` or `breaks-off`.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = sys.argv[sys.argv.index("--model-version") + 1]
PORT_FILE = Path(sys.argv[sys.argv.index("--port-file") + 1])
FAULT = "" if sys.argv[1].startswith("--") else sys.argv[1]
SEEN: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/seen":
            return self.answer(200, SEEN)
        if self.path == "/environment":
            return self.answer(200, dict(os.environ))
        return self.answer(503 if FAULT == "never-ready" else 200, {"ready": True})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        SEEN.append(self.headers.get("X-Request-Id", ""))
        kind, _, value = FAULT.partition(":")
        if kind == "breaks-off":
            self.close_connection = True
            self.connection.close()
            return None
        if kind == "slow":
            time.sleep(float(value))
        output = {"name": "model_version", "datatype": "BYTES", "shape": [1], "data": [VERSION]}
        return self.answer(
            int(kind) if kind.isdigit() else 200, {"outputs": [output], "bytes": len(body)}
        )

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Model-Version", "what it says itself")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if FAULT == "dies":
    print("the weights are broken", flush=True)
    raise SystemExit(3)
ThreadingHTTPServer.request_queue_size = 256
ThreadingHTTPServer.daemon_threads = False  # server_close waits for the answers that are given
ThreadingHTTPServer.handle_error = lambda *_: None  # a client that has gone
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
Handler.timeout = 1.0 if FAULT.startswith("slow") else None
PORT_FILE.with_suffix(".draft").write_text(str(server.server_address[1]))
PORT_FILE.with_suffix(".draft").replace(PORT_FILE)


signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.02)
time.sleep(0.05)
os._exit(0)
