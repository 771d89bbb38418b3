"""Which code a run was made with."""

import os
from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """The version of this code, for lineage.

    Returns:
        `CODE_VERSION`, which a local run sets to the commit of the checkout and an image to the
        commit that it was built from; else the package's version; else `unknown`.
    """
    if given := os.environ.get("CODE_VERSION"):
        return given
    try:
        return version("review-sentiment")
    except PackageNotFoundError:
        return "unknown"
