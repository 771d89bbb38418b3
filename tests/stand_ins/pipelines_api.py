"""Kubeflow Pipelines' API over HTTP: health, one experiment, runs and recurring runs."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

MADE = "2026-01-01T00:00:00Z"
EXPERIMENT = {"experiment_id": "e1", "display_name": "review-sentiment", "created_at": MADE}


class PipelinesApi:
    """Keeps what was asked; a run's state is what the test says.

    Attributes:
        asked: Kind, Authorization header and body of each POST.
        schedules: Names of recurring runs by their id.
        runs: States by the id of the run; the first is `r1`.
        removed: What was done to runs, as `terminate r1`.
        refuse: HTTP status that every POST is refused with; 0 refuses none.
        made: Called when a run was made.
        health: Status, and body as text, of the health address.
    """

    def __init__(self):
        self.asked, self.schedules, self.runs, self.removed, self.refuse = [], {}, {}, [], 0
        self.made = lambda: None
        self.health = (200, '{"multi_user": false}')
        handler = type("Handler", (_Handler,), {"api": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def get(self, path):
        if path.endswith("healthz"):
            return self.health
        if "/recurringruns" in path:
            rows = [
                {"recurring_run_id": key, "display_name": name, "created_at": MADE}
                for key, name in self.schedules.items()
            ]
            return 200, {"recurringRuns": rows}
        if "/runs/" in path:
            return 200, self._run(path.rpartition("/")[2])
        return 200, {"experiments": [EXPERIMENT]}

    def post(self, path, token, body):
        kind = path.rpartition("/")[2]
        if ":terminate" in kind:
            self.removed.append(f"terminate {kind.partition(':')[0]}")
            return 200, {}
        self.asked.append((kind, token, body))
        if self.refuse:
            return self.refuse, {"error": "no such permission"}
        if kind == "recurringruns":
            self.schedules["s2"] = body["display_name"]
            return 200, {"recurring_run_id": "s2", "display_name": body["display_name"]}
        if kind == "runs":
            self.runs.setdefault("r1", "PENDING")
            self.made()
            return 200, self._run("r1")
        return 200, EXPERIMENT

    def delete(self, path):
        name = path.rpartition("/")[2]
        if "/recurringruns/" in path:
            del self.schedules[name]
        else:
            self.removed.append(f"delete {name}")
        return 200, {}

    def _run(self, name):
        state = self.runs.get(name, "PENDING")
        return {"run_id": name, "experiment_id": "e1", "created_at": MADE, "state": state}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(*self.api.get(urlsplit(self.path).path))

    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"] or 0))
        token = self.headers.get("authorization", "")
        body = json.loads(text) if text else None
        self._answer(*self.api.post(urlsplit(self.path).path, token, body))

    def do_DELETE(self):
        self._answer(*self.api.delete(urlsplit(self.path).path))

    def _answer(self, status, content):
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/dex/auth")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
