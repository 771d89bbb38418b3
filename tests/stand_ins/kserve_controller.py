"""What KServe does with an InferenceService, as far as a rollout can tell.

Written after KServe 0.21's controller (pkg/controller/v1beta1/inferenceservice): pods come from a
template made of the model and of the merged annotations; a changed template restarts a Deployment
or makes a Knative revision; an unready canary gets no traffic; Knative's revisions are rolled out
as in PropagateStatus. Each look at the object moves the cluster on by one step.
"""

import json
from collections import Counter

from tests.stand_ins.kept_objects import merge_patch


def env_version(predictor):
    return next(e["value"] for e in predictor["model"]["env"] if e["name"] == "MODEL_VERSION")


def pod_template(service, predictor):
    annotations = service["metadata"]["annotations"] | predictor.get("annotations", {})
    model = {key: value for key, value in predictor["model"].items() if value != ""}
    return json.dumps([model, annotations], sort_keys=True)


def condition(kind, holds, reason=""):
    status = holds if isinstance(holds, str) else "True" if holds else "False"
    return {"type": kind, "status": status, **({"reason": reason} if reason else {})}


class KServe:
    """A controller for one service.

    Attributes:
        looks_until_ready: Looks at the object before a started pod is ready.
        broken: Versions whose pods never become ready.
        weights: Version to percent of the traffic, now.
        restarts: How often running pods of a version were replaced.
        served: Versions that ever got traffic.
    """

    def __init__(self, looks_until_ready=2, broken=()):
        self.looks_until_ready, self.broken = looks_until_ready, set(broken)
        self.weights, self.restarts, self.served = {}, Counter(), set()
        self.pods, self.revisions = {}, []
        self.rolled_out = self.previous = None

    def status(self, service):
        """The status after one more step."""
        mode = service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
        found = self._standard(service) if mode == "Standard" else self._knative(service)
        self.served |= {version for version, share in self.weights.items() if share}
        return found

    def _standard(self, service):
        stable = service["spec"]["predictor"]
        canaries = []
        for entry in service["spec"].get("canary") or []:
            predictor = merge_patch(stable, entry["predictor"])
            canaries.append((entry, predictor, self._run(service, predictor)))
        ready = self._run(service, stable)
        wanted = {stable.get("name", ""), *(p["name"] for _, p, _ in canaries)}
        self.pods = {name: pod for name, pod in self.pods.items() if name in wanted}
        weights = Counter()
        for entry, predictor, up in canaries:
            weights[env_version(predictor)] += entry["trafficPercent"] if up else 0
        weights[env_version(stable)] += 100 - sum(weights.values())
        self.weights = dict(weights)
        conditions = [condition(kind, ready) for kind in ("PredictorReady", "IngressReady")]
        conditions.append(condition("Ready", ready, "" if ready else "PodsNotReady"))
        found = {"conditions": conditions}
        if canaries:
            found["canaryStatuses"] = [
                {"name": p["name"], "ready": up, "trafficPercent": entry["trafficPercent"]}
                for entry, p, up in canaries
            ]
        return found

    def _run(self, service, predictor):
        """One Deployment: whether it is available."""
        template, version = pod_template(service, predictor), env_version(predictor)
        pod = self.pods.setdefault(predictor.get("name", ""), {"template": template, "age": 0})
        if pod["template"] != template:
            pod["template"] = template
            self.restarts[version] += 1
        pod["age"] += 1
        return pod["age"] >= self.looks_until_ready and version not in self.broken

    def _knative(self, service):
        predictor = service["spec"]["predictor"]
        template = pod_template(service, predictor)
        if not self.revisions or self.revisions[-1]["template"] != template:
            version, number = env_version(predictor), len(self.revisions) + 1
            if any(revision["version"] == version for revision in self.revisions[-1:]):
                self.restarts[version] += 1
            name = f"{service['metadata']['name']}-predictor-{number:05d}"
            made = {"name": name, "template": template, "version": version, "age": 0}
            self.revisions.append(made)
        percent = predictor.get("canaryTrafficPercent")
        split = percent is not None and self.rolled_out
        for revision in self.revisions:
            revision["age"] += 1
        ready = [r for r in self.revisions if r["age"] >= self.looks_until_ready]
        ready = [r for r in ready if r["version"] not in self.broken]
        newest = self.revisions[-1]
        latest = ready[-1] if ready else None
        traffic = []
        if latest:
            share = percent if split else 100
            target = {"revisionName": latest["name"], "latestRevision": True, "percent": share}
            traffic.append(target)
            if share < 100:
                target = {"revisionName": self.rolled_out, "latestRevision": False, "tag": "prev"}
                traffic.append({**target, "percent": 100 - share})
            # PropagateStatus, with its case of a revision that was rolled out and goes back.
            total = sum(t["percent"] for t in traffic if t["revisionName"] == latest["name"])
            if self.rolled_out != latest["name"]:
                if share == 100:
                    self.previous, self.rolled_out = self.rolled_out, latest["name"]
            elif latest is newest and share < 100 and total == 100 and self.previous:
                self.rolled_out = self.previous
        by_name = {revision["name"]: revision["version"] for revision in self.revisions}
        weights = Counter()
        for target in traffic:
            weights[by_name[target["revisionName"]]] += target["percent"]
        self.weights = dict(weights)
        up = latest is newest
        configured = condition("PredictorConfigurationReady", up or "Unknown")
        if newest["version"] in self.broken and newest["age"] > 4:
            configured = condition("PredictorConfigurationReady", False, "RevisionFailed")
        component = {
            "latestCreatedRevision": newest["name"],
            "latestReadyRevision": latest["name"] if latest else None,
            "latestRolledoutRevision": self.rolled_out,
            "previousRolledoutRevision": self.previous,
            "traffic": traffic,
        }
        others = [condition(kind, up or "Unknown") for kind in ("PredictorReady", "Ready")]
        predictor = {key: value for key, value in component.items() if value is not None}
        return {"conditions": [configured, *others], "components": {"predictor": predictor}}
