"""A small Kubernetes API that speaks HTTP: objects, watches, and faults planted at will."""

import json
import re
import threading
from pathlib import Path

import yaml

from tests.stand_ins.kept_objects import GROUP, PLURAL, VERSION, Objects, Refused
from tests.stand_ins.served import Served

__all__ = ["GROUP", "PLURAL", "VERSION", "ApiServer", "Objects", "Refused", "Time", "kubeconfig"]

_PATH = re.compile(r"/apis/([^/]+)/([^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?")
_CORE = re.compile(r"/api/v1/namespaces/[^/]+/(pods|events)(?:/([^/]+)(?:/(log))?)?")
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update", "WATCH": "watch"}


class ApiServer(Served):
    """Serves kinds of `Objects` over HTTP, keeps what was asked, and answers with planted faults.

    A fault is given for a method (`WATCH` for watches) and its n-th request from now (1 is next):
    an HTTP status (`429`, `500`, ...), `"drop"` (the connection is closed, nothing is done),
    `"lost"` (it is done, and then the connection is closed), or a `Refused`. A watch may also be
    given `"cut"` (the connection breaks within an event) or `("ERROR", code)` (an ERROR event).

    Attributes:
        asked: (method, path) of each request.
        known: The kinds, by group, version and plural.
        pods, events, logs: Core objects, as JSON; a pod without labels fits every selector, an
            event without type is a warning.
        hold_seconds: How long a watch stays open when there is nothing to tell.
        before: Called with method and path before a request is done.
        extra: Called with method, path, query and body; its answer, if any, is the answer.
        objects: Bodies by address, of which nothing but access reviews can be made; None leaves
            them to `known`.
        refused: Status and message by a pattern of `METHOD address`.
        may: Asked of the attributes of an access review, and the user that is meant.
        sent: Path, headers and body of each request.
    """

    def __init__(self, *kinds, objects=None):
        self.objects, self.refused, self.faults = objects, {}, {}
        self.asked, self.sent = [], []
        self.may = lambda attributes, user: True
        self.known = {(k.group, k.version_name, k.plural): k for k in kinds}
        self.namespaces = {k.namespace for k in kinds}
        self.pods, self.events, self.logs = [], [], {}
        self.hold_seconds = 0.0
        self.before = self.extra = self.retry_after = None
        self._lock = threading.Lock()
        super().__init__()

    def plant(self, method, fault, *nths):
        for nth in nths or (1,):
            self.faults.setdefault(method, {})[self.count(method) + nth] = fault

    def count(self, method):
        return sum(1 for asked, _ in self.asked if asked == method)

    def close(self):
        self.hold_seconds = 0.0
        super().close()

    @property
    def headers(self):
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def permissions(self):
        """Verbs that were used, by API group and resource, as a Role would grant them."""
        verbs = {}
        for method, path in self.asked:
            resource, verb = self._verb(method, path)
            verbs.setdefault(resource, set()).add(verb)
        return {resource: tuple(sorted(used)) for resource, used in verbs.items()}

    def _verb(self, method, path):
        if match := _PATH.fullmatch(path):
            group, _, _, plural, name = match.groups()
            return (group, plural), _VERBS.get(method, "get" if name else "list")
        plural, name, log = _CORE.fullmatch(path).groups()
        return ("", f"{plural}/{log}" if log else plural), "get" if name else "list"

    def handle(self, method, path, query, body, headers):
        if method == "PATCH":
            assert headers["Content-Type"] == "application/merge-patch+json"
        method = "WATCH" if query.get("watch") == ["True"] else method
        with self._lock:
            self.asked.append((method, path))
            self.sent.append((path, headers, body))
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
                found = self.extra(method, path, query, body) if self.extra else None
                for pattern, (status, message) in self.refused.items():
                    if found is None and re.fullmatch(pattern, f"{method} {path}"):
                        raise Refused(status, "", message)
                if found is None and (core := _CORE.fullmatch(path)):
                    found = self._core(*core.groups(), query)
                elif found is None and self.objects is not None:
                    found = self._by_address(path, body, headers)
                elif found is None:
                    found = self._answer(method, path, query, body)
            except Refused as refused:
                plain = refused.status["message"] == "404 page not found"
                return refused.code, refused.status["message"] if plain else refused.status
            if method == "WATCH" and fault:
                found = iter(["{"] if fault == "cut" else [_error_event(fault[1]), ""])
            return None if fault == "lost" else (201 if method == "POST" else 200, found)

    def _by_address(self, path, body, headers):
        if path.endswith("accessreviews"):
            user = body["spec"].get("user") or headers.get("Impersonate-User", "")
            allowed = self.may(body["spec"]["resourceAttributes"], user)
            return {**body, "status": {"allowed": allowed}}
        if path.endswith("selfsubjectreviews"):
            return {**body, "status": {"userInfo": {"username": "kim@example.org"}}}
        if path in self.objects:
            return self.objects[path]
        if path.startswith("/apis/") and path.count("/") == 3:
            raise Refused(404, "", "404 page not found")
        raise Refused(404, "NotFound", f"{path} not found")

    def _answer(self, method, path, query, body):
        group, version, namespace, plural, name = _PATH.fullmatch(path).groups()
        kept = self.known.get((group, version, plural))
        if kept is None:
            raise Refused(404, "", "404 page not found")
        if namespace not in self.namespaces and method == "POST":
            message = f"namespaces {namespace!r} not found"
            raise Refused(404, "NotFound", message, name=namespace, kind="namespaces")
        match method:
            case "WATCH":
                name = query["fieldSelector"][0].removeprefix("metadata.name=")
                version = query["resourceVersion"][0]
                return self._watched(kept, name, version, kept.since(name, version))
            case "GET":
                return kept.read(name)
            case "POST":
                return kept.create(body, dry_run=query.get("dryRun") == ["All"])
            case "PATCH":
                return kept.patch(name, body)
            case "DELETE":
                kept.delete(name, body)
                return {"kind": "Status", "status": "Success"}
        raise AssertionError(method)

    def _watched(self, kept, name, version, events):
        """Lines of a watch; the empty one ends it in order."""
        while True:
            for event in events:
                yield json.dumps(event) + "\n"
                version = event["object"]["metadata"]["resourceVersion"]
            if not self.hold_seconds or (events and events[-1]["type"] == "DELETED"):
                break
            with kept.changed:
                if not kept.changed.wait(self.hold_seconds):
                    break
                events = kept.since(name, version)
        yield ""

    def _core(self, plural, name, log, query):
        if log:
            return self.logs[name]
        if plural == "pods" and name:
            for pod in self.pods:
                if pod["metadata"]["name"] == name:
                    return {"kind": "Pod", "apiVersion": "v1", **pod}
            raise Refused(404, "NotFound", f"pods {name!r} not found", name=name, kind="pods")
        if plural == "pods":
            selector = query["labelSelector"][0]
            items = [pod for pod in self.pods if _fits(pod["metadata"].get("labels"), selector)]
            return {"kind": "PodList", "apiVersion": "v1", "items": items}
        selector = query["fieldSelector"][0]
        fields = [(event.get("type", "Warning"), event["involvedObject"]) for event in self.events]
        fields = [{"type": kind, "involvedObject.name": about["name"]} for kind, about in fields]
        items = [e for e, of in zip(self.events, fields, strict=True) if _fits(of, selector)]
        return {"kind": "EventList", "apiVersion": "v1", "items": items}


def _fits(fields, selector):
    """Whether what has these fields is selected; what has none is, by every selector."""
    wanted = [part.partition("=") for part in selector.split(",")]
    return fields is None or all(
        key in fields and value in ("", fields[key]) for key, _, value in wanted
    )


def _error_event(code):
    status = {"kind": "Status", "code": code, "reason": "Planted", "message": "planted"}
    return json.dumps({"type": "ERROR", "object": status}) + "\n"


def kubeconfig(folder, url, namespace="reviews"):
    """A kubeconfig file for the mock."""
    path = Path(folder) / "kubeconfig"
    context = {"cluster": "mock", "user": "me", "namespace": namespace}
    config = {
        **{"apiVersion": "v1", "kind": "Config", "current-context": "mock"},
        "clusters": [{"name": "mock", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "mock", "context": context}],
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
