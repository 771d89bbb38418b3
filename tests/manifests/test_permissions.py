import importlib
from collections import defaultdict
from pathlib import Path

from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT
from pipelines.running.preflight import OF_KUBEFLOW_PIPELINES, permissions
from tests.manifests.conftest import named

COMPONENTS = Path(__file__).resolve().parents[2] / "components"


def declared():
    for path in sorted(COMPONENTS.rglob("*.py")):
        if "\nPERMISSIONS" in path.read_text():
            parts = path.relative_to(COMPONENTS.parent).with_suffix("").parts
            yield ".".join(parts), importlib.import_module(".".join(parts)).PERMISSIONS


def granted(role):
    found = defaultdict(set)
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    found[group, resource, name] |= set(rule["verbs"])
    return dict(found)


def test_the_role_is_the_union_of_the_declared_permissions(overlay):
    asked = defaultdict(set)
    for _, verbs_of in declared():
        for (group, resource), verbs in verbs_of.items():
            asked[group, resource, ""] |= set(verbs)
    for one in OF_KUBEFLOW_PIPELINES:
        asked[one.group, one.resource, one.name].add(one.verb)
    role = granted(named(overlay, "Role"))
    assert role == dict(asked)
    assert "components.deployment.kserve.service" in dict(declared())
    # And the preflight asks for it.
    checked = {(one.group, one.resource, one.name, one.verb) for one in permissions()}
    assert checked == {(*what, verb) for what, verbs in role.items() for verb in verbs}


def test_nothing_is_granted_by_a_star_or_on_the_cluster(objects):
    kinds = {o["kind"] for o in objects}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    for role in [o for o in objects if o["kind"] == "Role"]:
        words = {word for rule in role["rules"] for words in rule.values() for word in words}
        assert not words & {"*", "pods/exec", "impersonate", "escalate", "bind"}


def test_the_role_is_bound_to_the_account_of_the_pipelines_alone(overlay):
    binding, role = named(overlay, "RoleBinding"), named(overlay, "Role")
    namespace = role["metadata"]["namespace"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == SERVICE_ACCOUNT
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}
    assert binding["subjects"] == [subject]


def test_the_default_account_gets_the_role_only_as_an_option(with_options, overlay):
    account = "pipeline-runner"
    binding = named(with_options, "RoleBinding", "review-sentiment-default-runner")
    assert binding["subjects"][0]["name"] == account
    assert binding["roleRef"] == named(with_options, "RoleBinding", SERVICE_ACCOUNT)["roleRef"]
    assert account not in str(overlay)
