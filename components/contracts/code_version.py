"""Which code a run was made with."""

import os
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> str:
    """The version of this code, for lineage.

    Returns:
        `CODE_VERSION` where an image sets it; else the git commit of the checkout, with `-dirty`
        appended if tracked files differ from it; else the package's version; else `unknown`.
    """
    if given := os.environ.get("CODE_VERSION"):
        return given
    checkout = Path(__file__).parents[2]
    git = shutil.which("git")
    if git and (checkout / ".git").exists():
        answer = subprocess.run(  # noqa: S603 (fixed arguments)
            [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    try:
        return version("review-sentiment")
    except PackageNotFoundError:
        return "unknown"
