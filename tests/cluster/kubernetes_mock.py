"""A small Kubernetes API: objects with resourceVersions, and faults planted at will."""

import copy
import json
import re
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator

from tests.deployment.conftest import CRDS, strict

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
SERVICES = "serving.kserve.io_inferenceservices.yaml"
_PATH = re.compile(r"/apis/([^/]+)/([^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?")
_CORE = re.compile(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/]+)/(log))?")


class Refused(Exception):  # noqa: N818
    """An answer that is not 2xx."""

    def __init__(self, code, reason, message, **details):
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self.status |= {"reason": reason, "message": message, "details": details}


@cache
def crd_validator(file):
    """The published schema, strict; None where it is not at hand."""
    path = CRDS / file
    if not path.exists():
        return None
    crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = strict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    # The stored status is the mock's own.
    schema["properties"]["status"] = {"type": "object"}
    return Draft202012Validator(schema)


def merge_patch(target, change):
    """RFC 7386."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge_patch(made.get(key), value)
    return made


def webhook(service):
    """KServe's rules for canaries (validateCanarySpecs) and for autoscaling, as far as used."""
    annotations, spec = service["metadata"].get("annotations") or {}, service["spec"]
    canaries, stable = spec.get("canary") or [], spec["predictor"]
    if canaries and annotations.get("serving.kserve.io/deploymentMode") != "Standard":
        return "canary is only supported in Standard deployment mode"
    for canary in canaries:
        predictor = canary["predictor"]
        if not predictor.get("name") or predictor["name"] == stable.get("name"):
            return "canary predictor.name is required and differs from the stable one's"
        if "model" not in predictor:
            return "canary needs exactly one implementation"
        if {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"} & set(predictor):
            return "canary uses fixed replicas"
        if predictor.get("minReplicas", 1) > stable.get("minReplicas", 1):
            return "canary minReplicas must not exceed stable predictor minReplicas"
    if stable["model"].get("name"):
        return "the 'name' field is not allowed in standard predictor"
    if sum(canary["trafficPercent"] for canary in canaries) > 100:
        return "sum of canary trafficPercent values must be <= 100"
    if annotations.get("serving.kserve.io/autoscalerClass") == "keda" and "scaleMetric" in stable:
        return "ScaleMetric is not supported for KEDA"
    return ""


class Objects:
    """The InferenceServices of one namespace, and a controller that fills in their status."""

    def __init__(self, controller=None, namespace="reviews"):
        self.controller = controller
        self.namespace = namespace
        self.found = {}
        self.version = 100
        self.uids = 0

    def read(self, name):
        service = self._must(name)
        if self.controller:
            status = self.controller.status(service)
            if status != service.get("status"):
                self._keep({**service, "status": status})
        return copy.deepcopy(self.found[name])

    def create(self, service):
        name = service["metadata"]["name"]
        if name in self.found:
            raise Refused(409, "AlreadyExists", f"{PLURAL} {name!r} already exists", name=name)
        self._check(service)
        self.uids += 1
        made = copy.deepcopy(service)
        made["metadata"] |= {"uid": f"uid-{self.uids}", "namespace": self.namespace}
        return self._keep(made)

    def patch(self, name, change):
        service = self._must(name)
        wanted = (change.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != service["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified", name=name)
        made = merge_patch(service, change)
        self._check(made)
        return self._keep(made) if made != service else copy.deepcopy(service)

    def delete(self, name):
        self._must(name)
        del self.found[name]

    def _must(self, name):
        if name not in self.found:
            raise Refused(
                404, "NotFound", f"{PLURAL}.{GROUP} {name!r} not found", name=name, kind=PLURAL
            )
        return self.found[name]

    def _keep(self, service):
        self.version += 1
        service = copy.deepcopy(service)
        service["metadata"]["resourceVersion"] = str(self.version)
        self.found[service["metadata"]["name"]] = service
        return copy.deepcopy(service)

    def _check(self, service):
        validator = crd_validator(SERVICES)
        faults = [f.message for f in validator.iter_errors(service)] if validator else []
        if faults:
            raise Refused(422, "Invalid", "; ".join(faults))
        said = webhook(service)
        if said:
            raise Refused(400, "BadRequest", f"admission webhook denied the request: {said}")


class ApiServer:
    """Serves `Objects` over HTTP, keeps what was asked, and answers with planted faults.

    A fault is given for a method and the n-th request of it from now (1 is the next):
    an HTTP status (`429`, `500`, ...), `"drop"` (the connection is closed, nothing is done) or
    `"lost"` (it is done, and then the connection is closed), or a `Refused`.
    """

    def __init__(self, objects):
        self.objects = objects
        self.asked = []
        self.faults = {}
        self.retry_after = None
        self.pods, self.events, self.logs = [], [], {}
        self.known = {(GROUP, VERSION, PLURAL)}
        self.before = None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"api": self})
        self.http = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def plant(self, method, fault, nth=1):
        self.faults.setdefault(method, {})[self.count(method) + nth] = fault

    def count(self, method):
        return sum(1 for asked, _ in self.asked if asked == method)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def permissions(self):
        """Verbs that were used, by API group and resource, as a Role would grant them."""
        verbs = {}
        for method, path in self.asked:
            resource, verb = self._verb(method, path)
            verbs.setdefault(resource, set()).add(verb)
        return {resource: tuple(sorted(used)) for resource, used in verbs.items()}

    def _verb(self, method, path):
        verbs = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}
        if match := _PATH.fullmatch(path):
            group, _, _, plural, name = match.groups()
            return (group, plural), verbs.get(method, "get" if name else "watch")
        _, plural, name, log = _CORE.fullmatch(path).groups()
        return ("", f"{plural}/{log}" if log else plural), "get" if name else "list"

    def handle(self, method, path, query, body):
        """Status, headers and content of an answer; None closes the connection."""
        with self._lock:
            self.asked.append((method, path))
            fault = self.faults.get(method, {}).pop(self.count(method), None)
            if fault == "drop":
                return None
            try:
                if isinstance(fault, Refused):
                    raise fault
                if isinstance(fault, int):
                    raise Refused(fault, "Planted", "planted by the test")
                if self.before:
                    self.before(method, path)
                found = self._answer(method, path, query, body)
            except Refused as refused:
                headers = {}
                if self.retry_after is not None:
                    headers["Retry-After"] = str(self.retry_after)
                return refused.code, headers, refused.status
            return None if fault == "lost" else (201 if method == "POST" else 200, {}, found)

    def _answer(self, method, path, query, body):
        if match := _CORE.fullmatch(path):
            _, plural, name, log = match.groups()
            if log:
                return self.logs[name]
            if plural == "pods":
                return {"kind": "PodList", "apiVersion": "v1", "items": self.pods}
            wanted = query["fieldSelector"][0].split(",")[0].removeprefix("involvedObject.name=")
            events = [e for e in self.events if e["involvedObject"]["name"] == wanted]
            return {"kind": "EventList", "apiVersion": "v1", "items": events}
        group, version, namespace, plural, name = _PATH.fullmatch(path).groups()
        if (group, version, plural) not in self.known:
            raise Refused(404, "", "404 page not found")
        if namespace != self.objects.namespace and method == "POST":
            raise Refused(
                404,
                "NotFound",
                f"namespaces {namespace!r} not found",
                name=namespace,
                kind="namespaces",
            )
        match method:
            case "GET":
                if name is None:
                    return self._watched(query)
                return self.objects.read(name)
            case "POST":
                return self.objects.create(body)
            case "PATCH":
                return self.objects.patch(name, body)
            case "DELETE":
                self.objects.delete(name)
                return {"kind": "Status", "status": "Success"}
        raise AssertionError(method)

    def _watched(self, query):
        """One look at the object: what became of it since."""
        name = query["fieldSelector"][0].removeprefix("metadata.name=")
        try:
            found = self.objects.read(name)
        except Refused:
            found = {"metadata": {"name": name, "resourceVersion": "0"}}
            return json.dumps({"type": "DELETED", "object": found}) + "\n"
        if found["metadata"]["resourceVersion"] == query["resourceVersion"][0]:
            return ""
        return json.dumps({"type": "MODIFIED", "object": found}) + "\n"


class _Server(ThreadingHTTPServer):
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
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.command == "PATCH":
            assert self.headers["Content-Type"] == "application/merge-patch+json"
        answer = self.api.handle(self.command, url.path, parse_qs(url.query), body)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        code, headers, content = answer
        plain = isinstance(content, str) or content.get("message") == "404 page not found"
        text = content if isinstance(content, str) else json.dumps(content)
        payload = ("404 page not found" if plain and code == 404 else text).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_):
        pass


def kubeconfig(folder, url, namespace="reviews"):
    """A kubeconfig file for the mock."""
    path = Path(folder) / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "mock", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "mock", "context": {"cluster": "mock", "user": "me", "namespace": namespace}}
        ],
        "current-context": "mock",
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


class Time:
    """A clock that moves when someone sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
