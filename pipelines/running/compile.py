"""Command line: write each pipeline as YAML that Kubeflow takes."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.errors import exit_in_words
from components.shared.machine.files import replaced_when_whole
from pipelines.running.pipeline import Pipeline


def all_pipelines() -> dict[str, Pipeline]:
    """The pipelines by the name of their file and of their command."""
    from pipelines.ab_test import ab_test_pipeline
    from pipelines.approval import approval_pipeline
    from pipelines.automl import automl_pipeline
    from pipelines.batch import batch_pipeline
    from pipelines.loop import loop_pipeline
    from pipelines.monitoring import monitoring_pipeline
    from pipelines.preflight import preflight_pipeline
    from pipelines.review import review_pipeline
    from pipelines.rollout import rollout_pipeline
    from pipelines.training import training_pipeline

    return {
        "training": training_pipeline,
        "automl": automl_pipeline,
        "approval": approval_pipeline,
        "rollout": rollout_pipeline,
        "ab-test": ab_test_pipeline,
        "batch": batch_pipeline,
        "monitoring": monitoring_pipeline,
        "loop": loop_pipeline,
        "preflight": preflight_pipeline,
        "review": review_pipeline,
    }


def compile_all(folder: Path) -> list[Path]:
    """Write a YAML file for each of `all_pipelines` into a folder; returns their paths."""
    from kfp import compiler

    written = []
    for name, pipeline in all_pipelines().items():
        with replaced_when_whole(folder / f"{name}.yaml") as draft, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiler.Compiler().compile(pipeline.trace(), package_path=str(draft))
        written.append(folder / f"{name}.yaml")
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and compile."""
    prog = "python -m pipelines.running.compile"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder of the YAML")
    folder = parser.parse_args(arguments).output
    exit_in_words(lambda: print(*compile_all(folder), sep="\n"))


if __name__ == "__main__":
    main()
