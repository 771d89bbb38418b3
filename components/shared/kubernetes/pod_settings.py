"""What the pods of runs follow on a cluster: registry login, nodes, and what its GPUs are called.

`manifests/cluster/pods.yaml` says it, in the words of a pod's spec. It is read when a pipeline is
compiled, and a step that starts pods of its own is given it, so that they follow it too.
"""

import json
import os
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError

POD_SETTINGS = "POD_SETTINGS"
"""Environment variable of a step that starts pods: the specs by name, as JSON."""

_FILE = Path(__file__).resolve().parents[3] / "manifests/cluster/pods.yaml"
_EVERY, _RUN, _GPU = "every-pod", "run-pods", "gpu-pods"
_FIELDS: dict[str, type] = {"imagePullSecrets": list, "nodeSelector": dict, "tolerations": list}


def pod_variables() -> dict[str, str]:
    """The settings by environment variable, for a step that starts pods of its own."""
    return {POD_SETTINGS: json.dumps(_specs(), separators=(",", ":"), sort_keys=True)}


def pod_fields(*, gpu: bool) -> dict[str, Any]:
    """Pull secrets, node selector and tolerations of a run's pod, as its spec has them.

    Fields that nothing is set for are left out.

    Raises:
        UserError: If the settings cannot be read.
    """
    specs = _specs()
    chosen = [specs[name] for name in (_EVERY, _RUN, *([_GPU] if gpu else []))]
    fields: dict[str, Any] = {}
    for field, kind in _FIELDS.items():
        for found in [spec[field] for spec in chosen if spec.get(field)]:
            fields[field] = (
                fields.get(field, kind()) | found
                if kind is dict
                else [
                    *fields.get(field, []),
                    *found,
                ]
            )
    return fields


def gpu_resource() -> str:
    """The resource name of a GPU, such as `nvidia.com/gpu` or that of a slice."""
    (name,) = _specs()[_GPU]["containers"][0]["resources"]["limits"]
    return str(name)


def _specs() -> dict[str, dict[str, Any]]:
    """The three pod specs by name: those that this step was given, or the file's."""
    if given := os.environ.get(POD_SETTINGS):
        return dict(json.loads(given))
    return read_pod_settings(_FILE)


def read_pod_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Read the three pod specs; `UserError` if one is missing or holds what pods do not follow."""
    import yaml

    try:
        objects = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
        specs = {one["metadata"]["name"]: one["template"]["spec"] for one in objects}
        limits = specs[_GPU]["containers"][0]["resources"]["limits"]
        right = len(limits) == 1 and {_EVERY, _RUN, _GPU} == set(specs)
        for spec in specs.values():
            right &= set(spec) <= {*_FIELDS, "containers"}
            right &= all(
                isinstance(spec.get(name) or kind(), kind) for name, kind in _FIELDS.items()
            )
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); take it from the checkout"
        ) from None
    except (yaml.YAMLError, AttributeError, KeyError, IndexError, TypeError):
        right = False
    if not right:
        raise UserError(
            f"{path} must hold the PodTemplates {_EVERY}, {_RUN} and {_GPU} with no more than "
            f"{', '.join(_FIELDS)}, and the one resource name of a GPU in the limits of {_GPU}"
        )
    return specs
