"""Katib as a search sees it: its webhook, the trials that it makes, and what becomes of them."""

import copy
import re
from dataclasses import dataclass, field

from tests.stand_ins import kept_objects

EXPERIMENTS = ("kubeflow.org", "v1beta1", "experiments")
START, END = "2026-11-21T12:00:00Z", "2026-11-21T12:10:00Z"


def faults_of(experiment):
    """What is wrong with an Experiment and the object that its trials are made of.

    Its definition takes anything: what decides is the webhook (0.19, webhook/v1beta1/experiment/
    validator), and Katib's own models, which drop what they do not know.
    """
    from kubeflow_katib_api.models import V1beta1Experiment

    wanted = {key: value for key, value in experiment.items() if key != "status"}
    spec, template = wanted["spec"], wanted["spec"]["trialTemplate"]
    declared = {one["name"] for one in template["trialParameters"]}
    used = set(re.findall(r"\$\{trialParameters\.(.+?)\}", repr(template["trialSpec"])))
    rules = {
        "name may not be longer than 40 characters": len(wanted["metadata"]["name"]) <= 40,
        "parallelTrialCount exceeds maxTrialCount": (
            spec["parallelTrialCount"] <= spec["maxTrialCount"]
        ),
        "maxFailedTrialCount exceeds maxTrialCount": (
            spec["maxFailedTrialCount"] <= spec["maxTrialCount"]
        ),
        f"parameters {used ^ declared} not found": used == declared,
        "its models drop a part of it": V1beta1Experiment.from_dict(wanted).to_dict() == wanted,
    }
    trial = template["trialSpec"]
    metadata = {**trial.get("metadata", {}), "name": "trial"}
    faults = kept_objects.faults_of({**trial, "metadata": metadata})
    return faults + [said for said, met in rules.items() if not met]


@dataclass
class Katib:
    """Makes one trial at each look at an Experiment, and lets each end as it is told to.

    Attributes:
        ends: The condition that each trial comes to, in turn; the last one for all that follow.
        scores: macro_f1 of each trial, likewise.
        stuck: Whether it never makes a trial.
    """

    ends: tuple[str, ...] = ("Succeeded",)
    scores: tuple[str, ...] = ("0.7",)
    stuck: bool = False
    trials: dict = field(default_factory=dict)

    def status(self, experiment):
        """The next status of an Experiment."""
        name, spec = experiment["metadata"]["name"], experiment["spec"]
        if self.stuck:
            return {"conditions": [_condition("Running")], "startTime": START}
        for trial in self.trials.values():
            if not trial["status"].get("completionTime"):
                self._end(trial)
        failed = sum(_is(trial, "Failed", "MetricsUnavailable") for trial in self.trials.values())
        done = len(self.trials)
        if done and failed >= spec["maxFailedTrialCount"]:
            last = "Failed"
        elif done >= spec["maxTrialCount"]:
            last = "Succeeded"
        else:
            self._make(name, spec)
            last = "Running"
        return {
            "conditions": [_condition("Created"), _condition(last)],
            "startTime": START,
            "trials": len(self.trials),
            "trialsRunning": int(last == "Running"),
        }

    def listed(self, name):
        """The trials as the API lists them: in no order."""
        label = "katib.kubeflow.org/experiment"
        items = [t for t in self.trials.values() if t["metadata"]["labels"][label] == name]
        return {"kind": "TrialList", "items": copy.deepcopy(items[::-1])}

    def _make(self, name, spec):
        number = len(self.trials)
        metadata = {
            "name": f"{name}-{'zyxwvuts'[number % 8]}{number}",
            "creationTimestamp": f"2026-11-21T12:{number:02d}:00Z",
            "labels": {"katib.kubeflow.org/experiment": name},
        }
        assigned = [
            {"name": one["name"], "value": _value(one["feasibleSpace"])}
            for one in spec["parameters"]
        ]
        self.trials[metadata["name"]] = {
            **{"apiVersion": "kubeflow.org/v1beta1", "kind": "Trial", "metadata": metadata},
            "spec": {"parameterAssignments": assigned},
            "status": {"startTime": START, "conditions": [_condition("Running")]},
        }

    def _end(self, trial):
        number = list(self.trials).index(trial["metadata"]["name"])
        end = self.ends[min(number, len(self.ends) - 1)]
        trial["status"]["conditions"] = [_condition("Created"), _condition(end)]
        # Katib writes no end where a trial was stopped early.
        trial["status"]["completionTime"] = None if end == "EarlyStopped" else END
        if end in ("Succeeded", "EarlyStopped"):
            score = self.scores[min(number, len(self.scores) - 1)]
            metrics = {"macro_f1": score, "accuracy": "0.8", "validation_loss": "unavailable"}
            trial["status"]["observation"] = {
                "metrics": [
                    {"name": name, "latest": value, "min": "0.1", "max": "0.99"}
                    for name, value in metrics.items()
                ]
            }


def _value(space):
    return space["list"][0] if "list" in space else space["min"]


def _condition(kind):
    return {"type": kind, "status": "True", "lastTransitionTime": END}


def _is(trial, *kinds):
    return any(one["type"] in kinds for one in trial["status"]["conditions"])
