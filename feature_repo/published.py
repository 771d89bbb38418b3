"""What `feast apply` registers: every version in the store's data folder.

The pipeline registers its own version; this file is for inspecting, repairing or pruning the store
with Feast's own command line. Since `feast apply` deletes what its repository does not define, a
version whose folder is gone leaves the registry too.
"""

import os
from pathlib import Path

from feature_repo.definitions import VERSION_FILE, feature_objects, read_version

_data = Path(os.environ["FEATURE_STORE_DIR"]).resolve() / "data"
_by_name = {
    f"{type(item).__name__}_{item.name}": item
    for version_file in sorted(_data.glob(f"[!.]*/{VERSION_FILE}"))
    for item in feature_objects(read_version(version_file.parent))
}
globals().update(_by_name)  # Feast collects the attributes of modules
