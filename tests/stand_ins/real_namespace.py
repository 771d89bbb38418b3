"""A namespace of its own on a real API server.

Set KUBERNETES_TEST_KUBECONFIG to a kubeconfig of an administrator. Nothing has to run pods there.
"""

import os
import uuid
from pathlib import Path

import pytest
import yaml

from components.shared.kubernetes.connection import connect

KUBECONFIG = os.environ.get("KUBERNETES_TEST_KUBECONFIG", "")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="set KUBERNETES_TEST_KUBECONFIG"),
]


class RealNamespace:
    """A namespace to make and to delete, and an administrator in it."""

    def __init__(self):
        from kubernetes.client import CoreV1Api, CustomObjectsApi, RbacAuthorizationV1Api

        self.name = f"sentiment-test-{uuid.uuid4().hex[:8]}"
        self.admin, _ = connect(kubeconfig=KUBECONFIG)
        self.core, self.rbac = CoreV1Api(self.admin), RbacAuthorizationV1Api(self.admin)
        self.custom = CustomObjectsApi(self.admin)

    def make(self, *accounts, **labels):
        self.core.create_namespace({"metadata": {"name": self.name, "labels": labels}})
        for account in accounts:
            self.core.create_namespaced_service_account(self.name, {"metadata": {"name": account}})

    def bind(self, account, role):
        """A Role, and the service account that has it."""
        self.rbac.create_namespaced_role(self.name, role)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role"}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.name}
        binding = {
            "metadata": {"name": account},
            "roleRef": {**reference, "name": role["metadata"]["name"]},
            "subjects": [subject],
        }
        self.rbac.create_namespaced_role_binding(self.name, binding)

    def token(self, account):
        lifetime = {"spec": {"expirationSeconds": 3600}}
        made = self.core.create_namespaced_service_account_token(account, self.name, lifetime)
        return made.status.token

    def kubeconfig(self, folder, token, **server):
        """The file of a user with this token, who is in the namespace."""
        config = yaml.safe_load(Path(KUBECONFIG).read_text(encoding="utf-8"))
        config["users"] = [{"name": "me", "user": {"token": token}}]
        context = {**config["contexts"][0]["context"], "user": "me", "namespace": self.name}
        config["contexts"] = [{"name": "it", "context": context}]
        config["current-context"] = "it"
        for cluster in config["clusters"]:
            cluster["cluster"] |= server
        file = folder / f"{uuid.uuid4().hex}.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(file)

    def delete(self):
        self.core.delete_namespace(self.name)
        self.admin.close()
