"""Objects of one kind as the API server keeps them: validated, versioned, with their history."""

import copy
import os
import threading
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

KUBERNETES = "1.36"
GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
CRDS = Path(os.environ.get("CRDS_DIR") or Path(__file__).resolve().parents[3] / "shared" / "crds")


class Refused(Exception):  # noqa: N818
    """An answer that is not 2xx."""

    def __init__(self, code, reason, message, **details):
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self.status |= {"reason": reason, "message": message, "details": details}


def strict(schema):
    """An openAPIV3Schema as the API server enforces it: unknown fields are errors."""
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    if "properties" in schema:
        made["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        made["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    return made


@cache
def crd_validator(group, version, plural):
    """The published schema, strict; None where it is not at hand."""
    path = CRDS / f"{group}_{plural}.yaml"
    if not path.exists():
        return None
    crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (served,) = [v for v in crd["spec"]["versions"] if v["name"] == version]
    schema = strict(served["schema"]["openAPIV3Schema"])
    # What every object has, whether a schema says so or not.
    said = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    schema["properties"] = said | schema.get("properties", {}) | {"metadata": {"type": "object"}}
    # The stored status is the mock's own.
    schema["properties"]["status"] = {"type": "object"}
    return Draft202012Validator(schema)


def plural_of(kind):
    """The name of a kind in paths and CRDs."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def faults_of(manifest):
    """What Kubernetes or a published CRD finds wrong with an object."""
    if not CRDS.is_dir():
        pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
    group, _, version = manifest["apiVersion"].rpartition("/")
    if validator := crd_validator(group, version, plural_of(manifest["kind"])):
        return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, ValueError) as fault:
        return [str(fault)]
    return []


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


def canary_webhook(service):
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
    """The objects of one kind in one namespace; InferenceServices unless said otherwise.

    Attributes:
        controller: Has `status(object)`, asked at each look at an object: its next status.
        webhook: Says why an object is denied; empty where it is not.
        found: By name.
        deletions: (name, propagation policy) of each deletion.
        forgotten: Watches from this resourceVersion or an earlier one are answered with 410.
    """

    def __init__(
        self, controller=None, namespace="reviews", *, resource=(GROUP, VERSION, PLURAL), webhook=""
    ):
        self.controller = controller
        self.namespace = namespace
        self.group, self.version_name, self.plural = resource
        self.webhook = webhook or (canary_webhook if self.plural == PLURAL else lambda _: "")
        self.found, self.deletions, self.history = {}, [], []
        self.version, self.uids, self.forgotten = 100, 0, 0
        self.changed = threading.Condition(threading.RLock())

    def read(self, name):
        service = self._must(name)
        if self.controller:
            status = self.controller.status(service)
            if status != service.get("status"):
                self._keep({**service, "status": status})
        return copy.deepcopy(self.found[name])

    def create(self, service, *, dry_run=False):
        name = service["metadata"]["name"]
        if name in self.found:
            raise Refused(409, "AlreadyExists", f"{self.plural} {name!r} already exists", name=name)
        self._check(service)
        if dry_run:
            return copy.deepcopy(service)
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

    def delete(self, name, options=None):
        found, options = self._must(name), options or {}
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != found["metadata"]["uid"]:
            raise Refused(409, "Conflict", "the UID in the precondition differs", name=name)
        self.deletions.append((name, options.get("propagationPolicy")))
        with self.changed:
            del self.found[name]
            self._tell("DELETED", found)

    def set_status(self, name, **status):
        """What a controller does."""
        self._keep({**self._must(name), "status": status})

    def since(self, name, version):
        """Watch events of an object after a resourceVersion; each is a look at the object."""
        if int(version) <= self.forgotten:
            raise Refused(410, "Expired", f"too old resource version: {version}")
        if name in self.found:
            self.read(name)
        return [
            event
            for event in self.history
            if event["object"]["metadata"]["name"] == name
            and int(event["object"]["metadata"]["resourceVersion"]) > int(version)
        ]

    def _must(self, name):
        if name not in self.found:
            message = f"{self.plural}.{self.group} {name!r} not found"
            raise Refused(404, "NotFound", message, name=name, kind=self.plural)
        return self.found[name]

    def _keep(self, service):
        with self.changed:
            kind = "MODIFIED" if service["metadata"]["name"] in self.found else "ADDED"
            service = self._tell(kind, service)
            self.found[service["metadata"]["name"]] = service
            return copy.deepcopy(service)

    def _tell(self, kind, service):
        self.version += 1
        service = copy.deepcopy(service)
        service["metadata"]["resourceVersion"] = str(self.version)
        self.history.append({"type": kind, "object": copy.deepcopy(service)})
        self.changed.notify_all()
        return service

    def _check(self, service):
        validator = crd_validator(self.group, self.version_name, self.plural)
        faults = [f.message for f in validator.iter_errors(service)] if validator else []
        if faults:
            raise Refused(422, "Invalid", "; ".join(faults))
        said = self.webhook(service)
        if said:
            raise Refused(400, "BadRequest", f"admission webhook denied the request: {said}")
