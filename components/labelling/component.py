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

    The suspects are left in the review folder as well, for people to look at.

    Args:
        prepared: What `prepare_reviews` wrote; its test split is left alone.
        suspects: Doubtful reviews with given and suggested label (Parquet), worst first.
        label_noise_summary: Counts, pairs of classes and the experiment, as JSON.
        label_noise_page: The same on a page, with the most doubtful reviews.
        metrics: Rows, suspects, and what dropping or relabelling them changes.
        seed: Seed of folds, models and random drops.
    """
    import logging

    from components.labelling.noise import find_label_noise
    from components.report.label_noise_page import write_label_noise_page
    from components.shared.records.suspects import keep_suspects

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = find_label_noise(prepared.path, suspects.path, label_noise_summary.path, seed)
    keep_suspects(suspects.path)
    write_label_noise_page(label_noise_summary.path, suspects.path, label_noise_page.path)
    metrics.log_metric("rows", found.rows)
    metrics.log_metric("suspects", found.suspects)
    for name, change in found.effects.items():
        metrics.log_metric(f"macro_f1_{name.replace(' ', '_')}", change)
    suspects.metadata["rows"] = found.suspects
    suspects.metadata["verdict"] = found.verdict


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def label_weakly(
    reviews: Input[Dataset],
    labelled: Output[Dataset],
    weak_labels_summary: Output[Artifact],
    weak_labels_page: Output[HTML],
    metrics: Output[Metrics],
    weak_labels: bool = False,
    seed: int = 42,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    certainty: float = 0.3,
) -> None:
    """Label reviews that have no rating, where labelling functions are sure enough together.

    Args:
        reviews: What `ingest_reviews` wrote.
        labelled: The same rows, some of them labelled now (Parquet); the labels have a source and
            a probability.
        weak_labels_summary: Functions, methods, labels and the experiment, as JSON.
        weak_labels_page: The same on a page.
        metrics: Reviews without a rating, those labelled, and what the labels change.
        weak_labels: Whether to label; where not, the rows are handed on as they are.
        seed: Seed of the splits, the same as that of `prepare_reviews`.
        validation_share: Share of validation in each class, the same as there.
        test_share: Share of test in each class, the same as there.
        certainty: Least probability of a weak label.
    """
    import logging

    from components.labelling.weak import WeakOptions, label_weakly
    from components.report.weak_labels_page import write_weak_labels_page

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = WeakOptions(seed, validation_share, test_share, certainty)
    places = reviews.path, labelled.path, weak_labels_summary.path
    made = label_weakly(*places, options, wanted=weak_labels)
    write_weak_labels_page(weak_labels_summary.path, weak_labels_page.path)
    metrics.log_metric("unrated", made.unrated)
    metrics.log_metric("weak", made.weak)
    if made.experiment:
        metrics.log_metric("macro_f1_change", made.experiment[1]["difference"]["value"])
    labelled.metadata["weak_labels"] = made.weak
    labelled.metadata["verdict"] = made.verdict
