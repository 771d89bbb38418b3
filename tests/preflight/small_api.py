"""A small Kubernetes API for the preflight: objects by their address, and pods that end."""

import copy
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ACCOUNT = "system:serviceaccount:reviews:review-sentiment-pipeline"


class SmallApi:
    """Answers from a dictionary of objects by address, and lets created pods end as told.

    Attributes:
        objects: Bodies by address; what is not here is not found.
        refused: Status and message by a pattern of `METHOD address`.
        may: Asked of the attributes of an access review, and the user that is meant.
        ends: `status` of a pod (or a list of them, look by look) and its log, by the name of its
            probe.
        pods: Pods that are there now.
        made: All pods that were created.
        asked: Method, address and headers of each request.
    """

    def __init__(self, objects):
        self.objects = objects
        self.refused = {}
        self.may = lambda attributes, user: True
        self.ends = {}
        self.pods = {}
        self.made = {}
        self.asked = []
        self.lost = set()
        self.changed = threading.Condition()
        handler = type("Handler", (_Handler,), {"api": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, method, path, body, headers):
        with self.changed:
            self.asked.append((method, path, headers))
            try:
                return self._answer(method, path, body, headers)
            finally:
                self.changed.notify_all()

    def _answer(self, method, path, body, headers):
        for pattern, (status, message) in self.refused.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return status, _status(status, message)
        if path.endswith("accessreviews"):
            user = body["spec"].get("user") or headers.get("Impersonate-User", "")
            allowed = self.may(body["spec"]["resourceAttributes"], user)
            return 201, {**body, "status": {"allowed": allowed}}
        if path.endswith("selfsubjectreviews"):
            return 201, {**body, "status": {"userInfo": {"username": "kim@example.org"}}}
        if found := re.fullmatch(r"/api/v1/namespaces/reviews/pods(?:/([^/]+)(/log)?)?", path):
            return self._pod(method, body, found[1], found[2])
        if path in self.objects:
            return 200, self.objects[path]
        if path.startswith("/apis/") and path.count("/") == 3:
            return 404, "404 page not found"
        return 404, _status(404, f"{path} not found", "NotFound")

    def _pod(self, method, body, name, log):
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.pods:
                return 409, _status(409, "it exists already", "AlreadyExists")
            self.pods[name] = self.made[name] = copy.deepcopy(body)
            return (None, None) if self.lost and not self.lost.discard(method) else (201, body)
        if name not in self.pods:
            return 404, _status(404, f'pods "{name}" not found', "NotFound")
        probe = name.split("-")[3]
        status, printed = self.ends.get(probe, (SUCCEEDED, ""))
        if log:
            return 200, printed
        if method == "DELETE":
            return 200, self.pods.pop(name)
        if isinstance(status, list):
            status = status.pop(0) if len(status) > 1 else status[0]
        return 200, {**self.pods[name], "status": status}


SUCCEEDED = {
    "phase": "Succeeded",
    "containerStatuses": [{"name": "probe", "state": {"terminated": {"exitCode": 0}}}],
}
DIED = {
    "phase": "Failed",
    "containerStatuses": [
        {"name": "probe", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    ],
}
RUNNING = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}


def waiting(reason, message=""):
    """The status of a pod whose container cannot start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "probe", "state": state}]}


def _status(code, message, reason=""):
    return {"kind": "Status", "code": code, "message": message, "reason": reason, "details": {}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = urlsplit(self.path).path
        status, content = self.api.answer(self.command, path, body, dict(self.headers))
        if status is None:
            self.close_connection = True
            self.connection.close()
            return
        payload = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_):
        pass
