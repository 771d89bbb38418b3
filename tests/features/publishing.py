"""A run of the features step as a process: `python publishing.py PREPARED MODEL FOLDER`."""

import sys
from pathlib import Path

from components.features.publish import build_features

if __name__ == "__main__":
    prepared, model, folder = sys.argv[1:]
    paths = (Path(folder) / "features.parquet", Path(folder) / "summary.json")
    summary = build_features(Path(prepared), model, 16, Path(prepared).name, *paths)
    print(summary.feature_service)
