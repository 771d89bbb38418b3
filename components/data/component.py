"""The KFP interface of the data room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def ingest_reviews(
    reviews: Output[Dataset],
    quarantine: Output[Dataset],
    ingest_summary: Output[Artifact],
    metrics: Output[Metrics],
    data_uri: str = "sample",
    labels: str = "sentiments",
    columns: str = "",
    labels_required: bool = True,
    max_rejected_share: float = 0.2,
    weak_labels: bool = False,
) -> NamedTuple("Outputs", data_fingerprint=str, rows=int):
    """Read reviews from anywhere, check each row, and account for all of them.

    Where the environment names a catalogue, the rows are registered there as a snapshot.

    Args:
        reviews: The valid rows, one Parquet file.
        quarantine: The rejected rows with source, line and reason, one Parquet file.
        ingest_summary: Counts, reasons, fingerprint and profile of the data as JSON.
        metrics: Rows read, valid, duplicate and quarantined.
        data_uri: File, folder or glob (local, https, s3, gs, hf) in CSV, TSV, JSON Lines or
            Parquet; empty or "sample" for the bundled sample.
        labels: The classes and what the data call them, as in `negative=1,2 positive=4,5`;
            "sentiments" is negative, neutral and positive by rating, or -1, 0 and 1.
        columns: Fields and the columns to read them from, as in `review_body=text rating=stars`;
            what is not named is found by the column names that are known.
        labels_required: Refuse data without a rating or sentiment column.
        max_rejected_share: Share of the rows above which their rejection is an error.
        weak_labels: Whether reviews are labelled weakly next; then a file may lack those columns,
            as it does where new reviews lie beside rated ones.

    Returns:
        data_fingerprint: Version of the data: it changes when they do, and only then.
        rows: Number of valid rows.
    """
    import logging
    from typing import NamedTuple

    from components.data.catalogue import register
    from components.data.ingest import ingest
    from components.shared.records.labels import LabelSet

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done = ingest(
        data_uri,
        reviews.path,
        quarantine.path,
        ingest_summary.path,
        labels=LabelSet.parse(labels),
        columns=columns,
        labels_required=labels_required and not weak_labels,
        max_rejected_share=max_rejected_share,
    )
    for name in ("rows_in", "rows_kept", "duplicates", "quarantined"):
        metrics.log_metric(name, getattr(done, name))
    reviews.metadata["data_fingerprint"] = done.fingerprint
    reviews.metadata["source"] = done.source
    reviews.metadata["rows"] = done.rows_kept
    if registered := register(reviews.path, done.fingerprint, done.source):
        reviews.metadata["snapshot"] = str(registered.snapshot_id)
    quarantine.metadata["reasons"] = done.reasons
    outputs = NamedTuple(  # noqa: UP014 (the form in which KFP documents it)
        "Outputs", [("data_fingerprint", str), ("rows", int)]
    )
    return outputs(done.fingerprint, done.rows_kept)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def read_unlabelled(
    data_uri: str,
    reviews: Output[Dataset],
    quarantine: Output[Dataset],
    columns: str = "",
    max_rejected_share: float = 0.2,
) -> NamedTuple("Outputs", source=str, rows=int):
    """Read reviews from anywhere that are only to be scored; copies are kept.

    Args:
        data_uri: File, folder or glob (local, https, s3, gs, hf) in CSV, TSV, JSON Lines or
            Parquet; empty or "sample" for the bundled sample.
        reviews: The rows that can be scored, one Parquet file.
        quarantine: The others, with source, line and reason, one Parquet file.
        columns: Fields and the columns to read them from, as in `review_body=comment`; what is not
            named is found by the column names that are known.
        max_rejected_share: Share of the rows that cannot be scored above which that is an error.

    Returns:
        source: The data URI without credentials.
        rows: Number of rows that can be scored.
    """
    import logging
    from typing import NamedTuple

    from components.data.unlabelled import read_unlabelled as read

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done = read(
        data_uri,
        reviews.path,
        quarantine.path,
        columns=columns,
        max_rejected_share=max_rejected_share,
    )
    reviews.metadata.update(source=done.source, rows=done.rows_kept)
    quarantine.metadata["rows"] = done.quarantined
    return NamedTuple("Outputs", source=str, rows=int)(done.source, done.rows_kept)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def prepare_reviews(
    reviews: Input[Dataset],
    prepared: Output[Dataset],
    prepare_summary: Output[Artifact],
    disputes: Output[Artifact],
    metrics: Output[Metrics],
    seed: int = 42,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    balance: str = "none",
    resolved: str = "",
    mask_texts: bool = False,
) -> None:
    """Clean the reviews, label them, and divide them into train, validation and test.

    Args:
        reviews: What `ingest_reviews` or `label_weakly` wrote.
        prepared: The same rows with cleaned texts, sentiment, split and copies, one Parquet file.
        prepare_summary: Counts per split and class, and what balancing does, as JSON.
        disputes: Test reviews that people label otherwise than the data, as JSON: the test split
            stays as it is.
        metrics: Rows per split, and the rate of the most frequent class in test.
        seed: Seed of the splits.
        validation_share: Share of validation in each class.
        test_share: Share of test in each class.
        balance: Balancing of the training part: none, undersample, oversample,
            undersample_by_category or oversample_by_category.
        resolved: File or folder of labels that people agreed on, for the training part; "kept" for
            those of the review folder, if there are any; empty for none.
        mask_texts: Whether personal data are masked in all texts that later steps read.
    """
    import logging

    from components.data.prepare import PrepareOptions, prepare
    from components.shared.records.resolved_labels import place_of

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = PrepareOptions(seed, validation_share, test_share, balance, mask_texts=mask_texts)
    done = prepare(
        reviews.path,
        prepared.path,
        prepare_summary.path,
        options,
        resolved=place_of(resolved),
        disputes=disputes.path,
    )
    for name, counts in done.splits.items():
        metrics.log_metric(f"{name}_rows", counts["rows"])
    metrics.log_metric("majority_rate", done.majority_rate)
    metrics.log_metric("unlabelled", done.unlabelled)
    metrics.log_metric("weak", done.weak)
    metrics.log_metric("reviewed", done.reviewed["added"])
    metrics.log_metric("disputes", done.reviewed["disputes"])
    prepared.metadata["rows"] = done.rows
    prepared.metadata["options"] = done.options


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def explore_reviews(
    prepared: Input[Dataset],
    exploration_summary: Output[Artifact],
    exploration_page: Output[HTML],
    metrics: Output[Metrics],
    base_model: str = "minilm",
    max_tokens: int = 160,
) -> None:
    """Tell what is in the reviews: classes, categories, words, lengths, gaps and duplicates.

    Args:
        prepared: What `prepare_reviews` wrote.
        exploration_summary: What was counted, as JSON.
        exploration_page: The same as one HTML page that needs nothing beside it.
        metrics: What somebody who trains on the data has to know of them, in numbers.
        base_model: Whose tokenizer counts the tokens of a review; empty counts none.
        max_tokens: Longest input of the model.
    """
    import logging

    from components.data.exploration.explore import explore
    from components.report.exploration_page import write_exploration_page

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = explore(
        prepared.path, exploration_summary.path, base_model=base_model, max_tokens=max_tokens
    )
    write_exploration_page(exploration_summary.path, exploration_page.path)
    duplicates = found["duplicates"]
    metrics.log_metric("rows", found["rows"])
    metrics.log_metric("mean_words", found["words"]["mean"])
    metrics.log_metric("cut_share", found["cut"]["share"] if found["cut"] else 0.0)
    metrics.log_metric("repeated_texts", duplicates["exact"]["repeated"])
    metrics.log_metric("texts_in_two_splits", duplicates["exact"]["across_splits"])
    metrics.log_metric("near_pairs", duplicates["near"]["pairs"])
    metrics.log_metric("near_pairs_across_splits", duplicates["near"]["across_splits"])
    if found["tokens"]:
        metrics.log_metric("mean_tokens", found["tokens"]["mean"])


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def browse_reviews(prepared: Input[Dataset], table_page: Output[HTML]) -> None:
    """Show the table: each column, how columns go together, and some rows.

    Args:
        prepared: What `prepare_reviews` wrote.
        table_page: One HTML page that needs nothing beside it.
    """
    import logging

    from components.data.exploration.browse import browse

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table_page.metadata["rows"] = browse(prepared.path, table_page.path)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def find_problem(data_uri: str, labels: str, columns: str, problem: Output[Artifact]) -> NamedTuple(
    "Outputs", labels=str, columns=str
):  # type: ignore[valid-type]
    """Find the text column, the label column and the classes of any labelled table.

    Args:
        data_uri: As `ingest_reviews` takes it.
        labels: The classes, if the user named them; else empty.
        columns: Fields and columns that the user named; may be empty.
        problem: What was found, JSON.

    Returns:
        The classes and the columns, as `ingest_reviews` takes them.
    """
    import logging
    from typing import NamedTuple

    from components.data.problem import find_problem as find

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = find(data_uri, problem.path, columns=columns, labels=labels)
    counted = ", ".join(f"{rows} {name}" for name, rows in found.classes.items())
    print(f"text: {found.text_column!r}; label: {found.label_column!r} ({counted})")
    problem.metadata.update(labels=found.labels, columns=found.columns)
    return NamedTuple("Outputs", labels=str, columns=str)(found.labels, found.columns)
