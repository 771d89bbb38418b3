"""Command line: write each pipeline as YAML that Kubeflow takes."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from components.contracts.files import replaced_when_whole


def compile_all(folder: Path) -> list[Path]:
    """Compile every pipeline.

    Args:
        folder: Gets `training.yaml` and `approval.yaml`.

    Returns:
        The paths written.
    """
    from kfp import compiler

    from pipelines.approval import approval_pipeline
    from pipelines.training import training_pipeline

    written = []
    for name, pipeline in (("training", training_pipeline), ("approval", approval_pipeline)):
        with replaced_when_whole(folder / f"{name}.yaml") as draft, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiler.Compiler().compile(pipeline, package_path=str(draft))
        written.append(folder / f"{name}.yaml")
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and compile."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder of the YAML")
    for path in compile_all(parser.parse_args(arguments).output):
        print(path)


if __name__ == "__main__":
    main()
