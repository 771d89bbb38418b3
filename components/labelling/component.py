"""The KFP interface of the labelling room."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def find_label_noise(
    prepared: Input[Dataset],
    suspects: Output[Dataset],
    label_noise_summary: Output[Artifact],
    label_noise_page: Output[HTML],
    metrics: Output[Metrics],
    seed: int = 42,
) -> None:
    """Rank the reviews whose label is in doubt, and try whether cleaning would help.

    Args:
        prepared: What `prepare_reviews` wrote; its test split is left alone.
        suspects: Doubtful reviews with given and suggested label (Parquet), worst first.
        label_noise_summary: Counts, pairs of classes and the experiment, as JSON.
        label_noise_page: The same on a page, with the most doubtful reviews.
        metrics: Rows, suspects, and what dropping or relabelling them changes.
        seed: Of folds, models and random drops.
    """
    import logging

    from components.labelling.noise import find_label_noise
    from components.report.label_noise_page import write_label_noise_page

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = find_label_noise(prepared.path, suspects.path, label_noise_summary.path, seed)
    write_label_noise_page(label_noise_summary.path, suspects.path, label_noise_page.path)
    metrics.log_metric("rows", found.rows)
    metrics.log_metric("suspects", found.suspects)
    for name, change in found.effects.items():
        metrics.log_metric(f"macro_f1_{name.replace(' ', '_')}", change)
    suspects.metadata["rows"] = found.suspects
    suspects.metadata["verdict"] = found.verdict
