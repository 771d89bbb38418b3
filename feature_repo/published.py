"""What `feast apply` registers: the views whose folders are in the store's data folder.

The pipeline registers them too; this file is for inspecting or repairing the store with Feast's own
command line. Since `feast apply` deletes what its repository does not define, it is refused as long
as there are versions of features that were published under names of their own.
"""

import os
from pathlib import Path

from feature_repo.definitions import feature_objects

_data = Path(os.environ["FEATURE_STORE_DIR"]).resolve() / "data"
if any(_data.glob("*/version.json")):
    raise SystemExit(f"{_data} holds features of former releases; migrate them first (README.md)")
_by_name = {f"{type(item).__name__}_{item.name}": item for item in feature_objects(_data)}
globals().update(_by_name)  # Feast collects the attributes of modules
