"""Credentials and address of a cluster: those of the pod, or of a kubeconfig."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(
    namespace: str = "", *, kubeconfig: str = "", context: str = ""
) -> "tuple[ApiClient, str]":
    """A client of the cluster's API, and the namespace to work in. Nothing is asked yet.

    In a pod the service account's credentials are taken unless a kubeconfig is given; elsewhere
    those of the kubeconfig, `$KUBECONFIG` or `~/.kube/config`. An empty namespace is the pod's or
    the context's, an empty context the kubeconfig's current one.

    Raises:
        UserError: If there are no credentials, or they cannot be read.
    """
    import yaml
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    settings = client.Configuration()
    found = "default"
    try:
        if not kubeconfig and not context and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=settings)
            if _SERVICE_ACCOUNT.is_file():
                found = _SERVICE_ACCOUNT.read_text(encoding="utf-8").strip()
        else:
            file, chosen = kubeconfig or None, context or None
            config.load_kube_config(file, chosen, client_configuration=settings)
            contexts, active = config.list_kube_config_contexts(file)
            if chosen:
                active = next(one for one in contexts if one["name"] == chosen)
            found = active["context"].get("namespace") or found
    except (ConfigException, yaml.YAMLError, OSError) as error:
        why = " ".join(str(error).split())
        if context and "contexts list" in why:
            there = "`kubectl config get-contexts` lists those that it has"
            raise UserError(f"the kubeconfig has no context {context}; {there}") from None
        raise UserError(
            f"there are no credentials for a cluster ({why}); set KUBECONFIG to a kubeconfig file, "
            "or run in a pod with a service account"
        ) from None
    # urllib3 would sleep and ask again by itself, also where an answer was lost.
    settings.retries = False
    return client.ApiClient(settings), namespace or found
