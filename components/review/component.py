"""The KFP interface of the review room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def select_review_items(
    model: Input[Model],
    predictions: Input[Dataset],
    items: Output[Dataset],
    selection_summary: Output[Artifact],
    metrics: Output[Metrics],
    log_uri: str = "",
    suspects_uri: str = "",
    since: str = "",
    until: str = "",
    options: dict = {},  # noqa: B006 - a KFP parameter default is a constant
) -> None:
    """Draw the reviews that people are asked about: the uncertain, doubtful labels, and an audit.

    Args:
        model: The model folder of the version that answered; its known words mask names.
        predictions: Its predictions for the test split, from which the table of thresholds is made.
        items: The items of all draws (Parquet).
        selection_summary: What was drawn from what, and the table, as JSON.
        metrics: Items drawn by queue.
        log_uri: Folder or URI of the payload log, which must hold texts; empty for none.
        suspects_uri: Parquet of `find_label_noise`; empty for what the last training left.
        since: Time from which the log is read (ISO 8601); empty for the end of the last window.
        until: Time up to which it is read; empty for now.
        options: Options by name (`ReviewOptions`).
    """
    import logging

    from components.review.options import ReviewOptions
    from components.review.select import Sources, select_items
    from components.shared.machine.state import review_folder
    from components.shared.records.known_words import read_known_words
    from components.shared.records.masking import Masker
    from components.shared.records.suspects import kept_suspects

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    masker = Masker(read_known_words(model.path))
    suspects = suspects_uri or kept_suspects()
    found = select_items(
        Sources(predictions.path, log_uri, suspects, since, until),
        review_folder(),
        items.path,
        selection_summary.path,
        ReviewOptions.from_dict(options),
        lambda text: masker.mask(text).text,
    )
    for queue, count in found["drawn"].items():
        metrics.log_metric(queue, count)
    items.metadata["rows"] = found["items_ever"]


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def gather_review_votes(
    items: Input[Dataset],
    gathered: Output[Artifact],
    metrics: Output[Metrics],
    wait_minutes: float = 0.0,
    options: dict = {},  # noqa: B006
) -> None:
    """Send the open items to the review service, and keep the votes in the journal.

    Args:
        items: The items of all draws.
        gathered: What was sent and what came back, as JSON.
        metrics: The same as numbers.
        wait_minutes: How long to wait for votes; 0 looks once. What is missing then is there at the
            next run.
        options: Options by name (`ReviewOptions`).
    """
    import logging
    from dataclasses import asdict

    from components.review.gather import Patience, gather_votes
    from components.review.label_studio.client import connect
    from components.review.options import ReviewOptions
    from components.shared.machine.pseudonyms import pseudonym_key
    from components.shared.machine.state import review_folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done = gather_votes(
        connect(),
        items.path,
        review_folder(),
        gathered.path,
        ReviewOptions.from_dict(options),
        pseudonym_key(),
        Patience(60 * wait_minutes),
    )
    for name, value in asdict(done).items():
        metrics.log_metric(name, value)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def resolve_review_votes(
    items: Input[Dataset],
    selection_summary: Input[Artifact],
    gathered: Input[Artifact],
    resolved: Output[Dataset],
    votes_summary: Output[Artifact],
    review_page: Output[HTML],
    metrics: Output[Metrics],
    options: dict = {},  # noqa: B006
) -> NamedTuple("Outputs", resolved_labels=int, new_labels=int):  # type: ignore[valid-type]
    """Resolve the labels of all items by the votes in the journal, and show how it went.

    Args:
        items: The items of all draws.
        selection_summary: What `select_review_items` found.
        gathered: What `gather_review_votes` found.
        resolved: The resolved labels as they stand now (Parquet).
        votes_summary: Votes, agreement, reviewers and items in doubt, as JSON.
        review_page: The same on a page, with the table of thresholds.
        metrics: Items by state, votes, agreement.
        options: Options by name (`ReviewOptions`).

    Returns:
        resolved_labels: Reviews that people agreed on, ever.
        new_labels: Rows that this resolution added or changed.
    """
    import logging
    from datetime import UTC, datetime
    from typing import NamedTuple

    from components.report.review_page import write_review_page
    from components.review.options import ReviewOptions
    from components.review.resolve import resolve_votes
    from components.shared.machine.state import review_folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = resolve_votes(
        items.path,
        review_folder(),
        resolved.path,
        votes_summary.path,
        ReviewOptions.from_dict(options),
        datetime.now(UTC),
    )
    write_review_page(votes_summary.path, selection_summary.path, gathered.path, review_page.path)
    for state, count in found["states"].items():
        metrics.log_metric(state.replace(" ", "_"), count)
    metrics.log_metric("votes", found["votes"]["counted"])
    if found["agreement"]["all"]["interval"]:
        metrics.log_metric("alpha", found["agreement"]["all"]["interval"]["value"])
    resolved.metadata["rows"] = found["states"]["resolved"]
    made = NamedTuple("Outputs", [("resolved_labels", int), ("new_labels", int)])  # noqa: UP014
    return made(found["states"]["resolved"], found["new"])


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def report_corrections(
    prepared: Input[Dataset],
    training_set: Input[Dataset],
    evaluation_summary: Input[Artifact],
    correction_summary: Output[Artifact],
    correction_page: Output[HTML],
    metrics: Output[Metrics],
    seconds: float = 15.0,
    wage: float = 0.0,
    seed: int = 42,
) -> None:
    """Compare the model before and after people's corrections, and with what would cost less.

    Args:
        prepared: What `prepare_reviews` wrote: the labels as the data give them.
        training_set: What `retrieve_training_set` wrote: the labels that were learned from.
        evaluation_summary: Scores of the evaluation, with the comparison with the champion.
        correction_summary: The comparisons and the price, as JSON.
        correction_page: The same on a page.
        metrics: Labels changed, gain and price.
        seconds: Working time of one vote, where the service gave none.
        wage: Price of a reviewer's hour; 0 takes that of the table of prices.
        seed: Seed of the experiment.
    """
    import logging

    from components.report.correction_page import write_correction_page
    from components.review.correction import Price
    from components.review.correction import report_corrections as report
    from components.review.counting import worked
    from components.shared.machine.cost import read_prices
    from components.shared.machine.files import read_json
    from components.shared.machine.state import review_folder
    from components.shared.records.votes import read_votes

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    votes, measured = worked(read_votes(review_folder() / "votes"))
    price = Price(votes, measured or seconds, wage or read_prices().person_hour)
    champion = read_json(evaluation_summary.path).get("champion", {})
    places = prepared.path, training_set.path, correction_summary.path
    found = report(*places, price, champion, seed)
    write_correction_page(correction_summary.path, correction_page.path)
    metrics.log_metric("reviewed_labels", found["reviewed"])
    metrics.log_metric("changed_labels", found["changed"])
    metrics.log_metric("price_of_votes", found["price"])
    for one in found["experiment"][1:]:
        name = one["name"].replace(" ", "_")
        metrics.log_metric(f"macro_f1_{name}", one["difference"]["value"])
