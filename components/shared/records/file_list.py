"""The list of a version's files with their digests, by which any later change is seen.

`files.sha256` is written when a model folder is registered, in the form that `sha256sum --check`
reads, and travels with the folder. The digest of the list itself stands in the registry, apart
from the files, and goes with every version that is fetched or served.
"""

import hashlib
from pathlib import Path

from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file

FILE_LIST = "files.sha256"

_ADDED_BY_MLFLOW = "registered_model_meta"
"""What MLflow's own client writes into a folder that it downloads by `models:/`."""


def write_file_list(folder: str | Path) -> str:
    """List a folder's files in `files.sha256`; return the list's digest."""
    text = _listed(_digests(Path(folder)))
    (Path(folder) / FILE_LIST).write_text(text, encoding="utf-8")
    return _sha256(text)


def folder_digest(folder: str | Path) -> str:
    """SHA-256 of the list of a folder's files as they are now."""
    return _sha256(_listed(_digests(Path(folder))))


def difference(folder: str | Path, digest: str = "") -> str:
    """How a folder differs from what was registered, such as "config.json was changed"; '' if not.

    Args:
        folder: A model folder; one without a list was not registered, or before there were lists.
        digest: Digest of the list in the registry. Where it is missing, the folder is compared
            with its own list alone. Services of earlier releases keep the digest of the weights
            here: then the weights must have it too.
    """
    folder = Path(folder)
    path, weights = folder / FILE_LIST, folder / "model.safetensors"
    found = _digests(folder)
    of_weights = bool(digest) and found.get(weights.name) == digest
    if not path.is_file():
        known = not digest or of_weights or _sha256(_listed(found)) == digest
        return "" if known else f"{FILE_LIST} is missing or another file was changed"
    if digest and not of_weights and sha256_of_file(path) != digest:
        return f"{FILE_LIST} was changed"
    lines = [line.partition("  ") for line in path.read_text("utf-8", "replace").splitlines()]
    listed = {name: of_file for of_file, _, name in lines}
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            how = "is missing" if name not in found else "was changed"
            return f"{name} {how if name in listed else 'was added'}"
    return ""


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file but the list, by its path inside the folder, in order."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in (FILE_LIST, _ADDED_BY_MLFLOW) or (path.is_dir() and not path.is_symlink()):
            continue
        if not path.is_file() or path.is_dir() or "\n" in name:
            raise UserError(f"{path} is not a plain file; a model folder holds nothing else")
        digests[name] = sha256_of_file(path)
    return dict(sorted(digests.items()))


def _listed(digests: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
