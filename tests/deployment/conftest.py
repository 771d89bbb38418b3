"""The published CRDs as strict JSON schemas."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CRDS = Path(
    os.environ.get("CRDS_DIR") or Path(__file__).resolve().parents[2].parent / "shared" / "crds"
)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
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


@pytest.fixture
def faults_of() -> Callable[[dict[str, Any], str], list[str]]:
    """What a CRD finds wrong with an object."""

    def find(manifest: dict[str, Any], crd_file: str) -> list[str]:
        from jsonschema import Draft202012Validator

        path = CRDS / crd_file
        if not path.exists():
            pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
        crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        api_version = manifest["apiVersion"].removeprefix(crd["spec"]["group"] + "/")
        (version,) = [v for v in crd["spec"]["versions"] if v["name"] == api_version]
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The API server knows metadata by itself.
        schema["properties"]["metadata"] = {"type": "object"}
        faults = Draft202012Validator(schema).iter_errors(manifest)
        return [f"{fault.json_path}: {fault.message}" for fault in faults]

    return find
