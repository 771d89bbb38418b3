"""What the pipelines' service account may do, asked of the API server verb by verb."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.preflight.api import Answer, Api
from components.preflight.finding import Finding, failed, passed, skipped
from components.preflight.outside import APPLY, Expected, Permission
from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT

_SIDE_BY_SIDE = 8
_NAME = "permissions"


def check_permissions(api: Api, expected: Expected, found: dict[str, Any]) -> list[Finding]:
    """Ask for each verb that the pipelines use.

    Of the service account where the user may ask about others (SubjectAccessReview) or act as
    others (impersonation); otherwise of the user, which says nothing of the account.
    """
    account = f"system:serviceaccount:{api.namespace}:{SERVICE_ACCOUNT}"
    permissions = expected.permissions
    for ask in (_of_account, _of_self):
        if ask(api, permissions[0], account).good:
            denied = _denied(permissions, lambda wanted, ask=ask: ask(api, wanted, account))
            return _judge(denied, len(permissions), f"-n {api.namespace} --as={account}")
    denied = _denied(permissions, lambda wanted: _of_self(api, wanted))
    yours = f"you may do {len(permissions) - len(denied)} of the {len(permissions)} things yourself"
    text = (
        f"you may neither ask about {SERVICE_ACCOUNT} (create subjectaccessreviews) nor act "
        f"as it (impersonate); {yours}, which does not say what it may"
    )
    ask_yourself = f"kubectl auth can-i --list -n {api.namespace} --as={account}"
    return [skipped(_NAME, text, f"{ask_yourself}   # as an administrator")]


def _judge(denied: list[Permission], count: int, asked: str) -> list[Finding]:
    if not denied:
        return [passed(_NAME, f"{SERVICE_ACCOUNT} may do all {count} things it has to")]
    if len(denied) == count:
        return [failed(_NAME, f"{SERVICE_ACCOUNT} may do nothing of what it has to", APPLY)]
    verbs: dict[str, list[str]] = defaultdict(list)
    for permission in denied:
        verbs[permission.in_full].append(permission.verb)
    return [
        failed(
            _NAME,
            f"{SERVICE_ACCOUNT} may not {', '.join(lacking)} {resource}",
            # As `kubectl auth can-i` takes a subresource.
            f"{APPLY}\nkubectl auth can-i {lacking[0]} "
            f"{resource.replace('/log', ' --subresource=log')} {asked}",
        )
        for resource, lacking in verbs.items()
    ]


def _denied(permissions: tuple[Permission, ...], ask: Any) -> list[Permission]:
    """Those that the API server does not allow."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        answers = pool.map(ask, permissions)
        pairs = zip(permissions, answers, strict=True)
        return [one for one, said in pairs if not (said.found.get("status") or {}).get("allowed")]


def _of_account(api: Api, wanted: Permission, account: str) -> Answer:
    accounts = "system:serviceaccounts"
    groups = [accounts, f"{accounts}:{api.namespace}", "system:authenticated"]
    return _ask(api, "SubjectAccessReview", wanted, {"user": account, "groups": groups})


def _of_self(api: Api, wanted: Permission, account: str = "") -> Answer:
    return _ask(api, "SelfSubjectAccessReview", wanted, {}, impersonate=account)


def _ask(
    api: Api, kind: str, wanted: Permission, spec: dict[str, Any], impersonate: str = ""
) -> Answer:
    group_version = "authorization.k8s.io/v1"
    plural, _, subresource = wanted.resource.partition("/")
    attributes = {"namespace": api.namespace, "verb": wanted.verb, "group": wanted.group}
    attributes |= {"resource": plural, "subresource": subresource, "name": wanted.name}
    spec = {**spec, "resourceAttributes": attributes}
    review = {"apiVersion": group_version, "kind": kind, "spec": spec}
    path = f"/apis/{group_version}/{kind.lower()}s"
    return api.ask("POST", path, body=review, impersonate=impersonate)
