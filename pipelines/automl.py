"""The AutoML pipeline: a labelled text table in, the best model that its budget buys out."""

from components.automl.component import open_budget
from components.data.component import find_problem, ingest_reviews, prepare_reviews
from components.features.component import build_features, retrieve_training_set
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place
from pipelines.selection import selection_pipeline
from pipelines.understanding import understand_data


@pipeline(
    name="review-sentiment-automl",
    description="A labelled text table in; the best model that a budget buys, registered, out.",
    parts=(selection_pipeline,),
)
def automl_pipeline(
    data_uri: str = "sample",
    labels: str = "",
    columns: str = "",
    max_rejected_share: float = 0.2,
    max_candidates: int = 20,
    max_seconds_per_candidate: float = 0.0,
    max_seconds: float = 1200.0,
    base_model: str = "minilm",
    max_tokens: int = 160,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    mask_texts: bool = True,
    seed: int = 42,
    accuracy_threshold: float = 0.8,
    macro_f1_threshold: float = 0.6,
    champion_margin: float = 0.01,
    facets: str = "product_category department division age",
    bias_gate: str = "",
    model_name: str = "review-sentiment",
    approval: str = "auto",
) -> None:
    """Find text and labels, try candidates within the budget, assess and release the winner.

    Args:
        data_uri: A labelled table in CSV, TSV, JSON Lines or Parquet at any fsspec URI, a folder of
            such files, or `sample` for the bundled reviews.
        labels: The classes and what the data call them, as in `bad=0 good=1`; empty finds them in
            the label column.
        columns: Fields and the columns to read them from, as in `review_body=text
            sentiment=label`; empty finds the text and the label column.
        max_rejected_share: Share of the rows above which their rejection ends the run.
        max_candidates: Trials of all candidates together.
        max_seconds_per_candidate: Seconds that one trial may take; 0: as many as are left.
        max_seconds: Seconds for the whole run, of which a quarter, at most 300, go to assessment.
        base_model: `minilm` (packaged), a folder, or a hub id, for candidates with an encoder.
        max_tokens: Longest input of those in tokens; longer texts are cut.
        validation_share: Share of the rows that candidates are chosen by.
        test_share: Share of the rows that only the winner's evaluation reads.
        mask_texts: Whether personal data are masked in all that follows from the prepared reviews.
        seed: Seed of the splits, of what is drawn and of training.
        accuracy_threshold: Test accuracy below which nothing is registered.
        macro_f1_threshold: Test macro-F1 below which nothing is registered.
        champion_margin: Macro-F1 that a new model may lie below the champion.
        facets: What reviews are grouped by when bias is measured; a bar names the facet to compare
            within, as in `product_category|age`.
        bias_gate: Limit on one metric of bias above which nothing is registered, as in
            `DPPL:positive:product_category<=0.1`; empty sets none.
        model_name: Name in the model registry.
        approval: `auto` promotes at once; `manual` registers and waits for approval.
    """
    opened = place(
        open_budget(
            max_candidates=max_candidates,
            max_seconds_per_candidate=max_seconds_per_candidate,
            max_seconds=max_seconds,
        )
    )
    # After the budget is opened, so that all that follows counts.
    problem = place(find_problem(data_uri=data_uri, labels=labels, columns=columns).after(opened))
    ingested = place(
        ingest_reviews(
            data_uri=data_uri,
            labels=problem.outputs["labels"],
            columns=problem.outputs["columns"],
            max_rejected_share=max_rejected_share,
        )
    )
    prepared = place(
        prepare_reviews(
            reviews=ingested.outputs["reviews"],
            seed=seed,
            validation_share=validation_share,
            test_share=test_share,
            mask_texts=mask_texts,
        )
    )
    features = place(
        build_features(
            prepared=prepared.outputs["prepared"],
            base_model=base_model,
            max_tokens=max_tokens,
            data_fingerprint=ingested.outputs["data_fingerprint"],
        )
    )
    retrieved = place(
        retrieve_training_set(
            prepared=prepared.outputs["prepared"],
            feature_service=features.outputs["feature_service"],
        )
    )
    noise = understand_data(prepared.outputs["prepared"], base_model, max_tokens, seed)
    selection_pipeline(
        prepared=prepared.outputs["prepared"],
        training_set=retrieved.outputs["training_set"],
        ingest_summary=ingested.outputs["ingest_summary"],
        prepare_summary=prepared.outputs["prepare_summary"],
        features_summary=features.outputs["features_summary"],
        label_noise_summary=noise.outputs["label_noise_summary"],
        base_model=base_model,
        max_tokens=max_tokens,
        data_fingerprint=ingested.outputs["data_fingerprint"],
        feature_service=features.outputs["feature_service"],
        deadline=opened.outputs["deadline"],
        max_candidates=max_candidates,
        max_seconds_per_candidate=max_seconds_per_candidate,
        seed=seed,
        accuracy_threshold=accuracy_threshold,
        macro_f1_threshold=macro_f1_threshold,
        champion_margin=champion_margin,
        facets=facets,
        bias_gate=bias_gate,
        model_name=model_name,
        approval=approval,
    )
