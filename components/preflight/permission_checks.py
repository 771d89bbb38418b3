"""What the pipelines' service account may do, asked of the API server verb by verb."""

from collections import defaultdict
from collections.abc import Iterable
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
    first = permissions[0]
    if _of_account(api, account, first).good:
        return _judge(api, permissions, lambda wanted: _of_account(api, account, wanted))
    if _of_self(api, first, account).good:
        return _judge(api, permissions, lambda wanted: _of_self(api, wanted, account))
    denied = _denied(permissions, lambda wanted: _of_self(api, wanted))
    yours = f"you may do {len(permissions) - len(denied)} of the {len(permissions)} things yourself"
    return [
        skipped(
            _NAME,
            f"you may neither ask about {SERVICE_ACCOUNT} (create subjectaccessreviews) nor act "
            f"as it (impersonate); {yours}, which does not say what it may",
            f"kubectl auth can-i --list -n {api.namespace} --as={account}   # as an administrator",
        )
    ]


def _judge(api: Api, permissions: tuple[Permission, ...], ask: Any) -> list[Finding]:
    denied = _denied(permissions, ask)
    if not denied:
        return [passed(_NAME, f"{SERVICE_ACCOUNT} may do all {len(permissions)} things it has to")]
    verbs: dict[str, list[str]] = defaultdict(list)
    for permission in denied:
        verbs[permission.in_full].append(permission.verb)
    if len(denied) == len(permissions):
        return [failed(_NAME, f"{SERVICE_ACCOUNT} may do nothing of what it has to", APPLY)]
    asked = f"-n {api.namespace} --as=system:serviceaccount:{api.namespace}:{SERVICE_ACCOUNT}"
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


def _denied(permissions: Iterable[Permission], ask: Any) -> list[Permission]:
    """Those that the API server does not allow."""

    def allowed(wanted: Permission) -> bool:
        return bool((ask(wanted).found.get("status") or {}).get("allowed"))

    wanted = list(permissions)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return [one for one, may in zip(wanted, pool.map(allowed, wanted), strict=True) if not may]


def _of_account(api: Api, account: str, wanted: Permission) -> Answer:
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
    review = {"apiVersion": group_version, "kind": kind}
    return api.ask(
        "POST",
        f"/apis/{group_version}/{kind.lower()}s",
        body={**review, "spec": {**spec, "resourceAttributes": attributes}},
        impersonate=impersonate,
    )
