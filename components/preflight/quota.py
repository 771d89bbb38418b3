"""Whether the namespace's quota and limits leave room for the largest step."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from components.preflight.api import Api, unread
from components.preflight.finding import Finding, failed, ok, warning


def check_quota(api: Api, largest: Mapping[str, str]) -> list[Finding]:
    """Compare each ResourceQuota and LimitRange with what the largest step asks for.

    Args:
        api: The cluster.
        largest: Quantity by resource, as `cpu` and `memory`; request and limit are equal.
    """
    quotas, ranges = (api.get(api.of_namespace(kind)) for kind in ("resourcequotas", "limitranges"))
    findings = []
    for answer, what in ((quotas, "ResourceQuotas"), (ranges, "LimitRanges")):
        if not answer.good:
            findings.append(unread("quota", what, answer))
    for quota in quotas.items:
        findings += _in_quota(api.namespace, quota, largest)
    for limits in ranges.items:
        findings += _in_range(api.namespace, limits, largest)
    if findings:
        return findings
    asked = ", ".join(f"{amount} {resource}" for resource, amount in largest.items())
    return [ok("quota", f"leaves room for the largest step ({asked})")]


def _in_quota(
    namespace: str, quota: Mapping[str, Any], largest: Mapping[str, str]
) -> Iterator[Finding]:
    status, name = quota.get("status") or {}, quota["metadata"]["name"]
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for resource, amount in largest.items():
        for key in (resource, f"requests.{resource}", f"limits.{resource}"):
            if key not in hard:
                continue
            wanted, most, taken = map(_quantity, (amount, hard[key], used.get(key, "0")))
            told = f"ResourceQuota {name} allows {hard[key]} {key}"
            remedy = f"kubectl -n {namespace} edit resourcequota {name}"
            if wanted > most:
                yield failed("quota", f"{told}; the largest step asks for {amount}", remedy)
            elif taken + wanted > most:
                told += f", of which {used[key]} are taken; a step that asks for {amount} waits"
                yield warning("quota", told, f"kubectl -n {namespace} get pods")


def _in_range(
    namespace: str, limits: Mapping[str, Any], largest: Mapping[str, str]
) -> Iterator[Finding]:
    name = limits["metadata"]["name"]
    for limit in limits["spec"].get("limits") or []:
        for resource, amount in largest.items():
            most = (limit.get("max") or {}).get(resource)
            if limit["type"] in ("Container", "Pod") and most:
                if _quantity(amount) <= _quantity(most):
                    continue
                yield failed(
                    "quota",
                    f"LimitRange {name} allows a {limit['type'].lower()} {most} {resource}; the "
                    f"largest step asks for {amount}",
                    f"kubectl -n {namespace} edit limitrange {name}",
                )


def _quantity(text: str) -> Decimal:
    from kubernetes.utils import parse_quantity

    return Decimal(parse_quantity(text))
