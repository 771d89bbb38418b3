"""The training pipeline: from reviews at a URI to a checked, registered champion."""

from components.data.component import ingest_reviews, prepare_reviews
from components.features.component import (
    add_corrections,
    build_features,
    retrieve_training_set,
)
from components.labelling.component import label_weakly
from components.training.component import fine_tune_classifier
from pipelines.assessment import assessment_pipeline
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import place, scale_of_environment
from pipelines.tuning import tuning_pipeline
from pipelines.understanding import understand_data


@pipeline(
    name="review-sentiment-training",
    description="Product reviews in; a fine-tuned, evaluated, registered sentiment model out.",
    parts=(tuning_pipeline, assessment_pipeline),
)
def training_pipeline(
    data_uri: str = "sample",
    labels: str = "sentiments",
    columns: str = "",
    max_rejected_share: float = 0.2,
    weak_labels: bool = False,
    base_model: str = "minilm",
    max_tokens: int = 160,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    balance: str = "none",
    mask_texts: bool = True,
    seed: int = 42,
    hyperparameters: dict = {},  # noqa: B006 - a KFP parameter default is a constant
    tune_trials: int = 0,
    accuracy_threshold: float = 0.8,
    macro_f1_threshold: float = 0.6,
    champion_margin: float = 0.01,
    facets: str = "product_category department division age",
    bias_gate: str = "",
    model_name: str = "review-sentiment",
    approval: str = "auto",
    resolved: str = "",
    as_of: str = "",
) -> None:
    """Ingest, prepare, store features, tune, train, evaluate, export, gate, register, promote.

    Args:
        data_uri: Reviews in CSV, TSV, JSON Lines or Parquet at any fsspec URI, a folder of such
            files, or `sample` for the bundled ones.
        labels: The classes and what the data call them, as in `negative=1,2 positive=4,5`;
            `sentiments` is negative, neutral and positive by rating, or -1, 0 and 1.
        columns: Fields and the columns to read them from, as in `review_body=text rating=stars`;
            what is not named is found by the column names that are known.
        max_rejected_share: Share of the rows above which their rejection ends the run.
        weak_labels: Label reviews that have no rating by functions that vote, for training alone.
        base_model: `minilm` (packaged), a folder, or a hub id such as `roberta-base`.
        max_tokens: Longest input in tokens; longer reviews are cut.
        validation_share: Share of the reviews that training is watched on.
        test_share: Share of the reviews that only evaluation reads.
        balance: `none`, `undersample`, `oversample`, `undersample_by_category` or
            `oversample_by_category`; of the training part only.
        mask_texts: Whether e-mail addresses, phone, card and account numbers and names are masked
            in all that follows from the prepared reviews: training set, predictions, reports.
        seed: Seed of the splits, of balancing and of training.
        hyperparameters: Training options by name; what is not named keeps its default.
        tune_trials: Trials of the random search before training; 0 skips it.
        accuracy_threshold: Test accuracy below which nothing is registered.
        macro_f1_threshold: Test macro-F1 below which nothing is registered.
        champion_margin: Macro-F1 that a new model may lie below the champion.
        facets: What reviews are grouped by when bias is measured; a bar names the facet to compare
            within, as in `product_category|age`.
        bias_gate: Limit on one metric of bias above which nothing is registered, as in
            `DPPL:positive:product_category<=0.1`; empty sets none.
        model_name: Name in the model registry.
        approval: `auto` promotes at once; `manual` registers and waits for approval.
        resolved: Labels that people agreed on, a file or folder; `kept` for the review's own, empty
            for none.
        as_of: Time up to which labels count, ISO 8601; empty is now.
    """
    scale = scale_of_environment()
    ingested = place(
        ingest_reviews(
            data_uri=data_uri,
            labels=labels,
            columns=columns,
            max_rejected_share=max_rejected_share,
            weak_labels=weak_labels,
        )
    )
    labelled = place(
        label_weakly(
            reviews=ingested.outputs["reviews"],
            weak_labels=weak_labels,
            seed=seed,
            validation_share=validation_share,
            test_share=test_share,
        )
    )
    prepared = place(
        prepare_reviews(
            reviews=labelled.outputs["labelled"],
            seed=seed,
            validation_share=validation_share,
            test_share=test_share,
            balance=balance,
            mask_texts=mask_texts,
            resolved=resolved,
        )
    )
    noise = understand_data(prepared.outputs["prepared"], base_model, max_tokens, seed)
    features = place(
        build_features(
            prepared=prepared.outputs["prepared"],
            base_model=base_model,
            max_tokens=max_tokens,
            data_fingerprint=ingested.outputs["data_fingerprint"],
        )
    )
    corrected = place(add_corrections(resolved=resolved).after(features))
    retrieved = place(
        retrieve_training_set(
            prepared=prepared.outputs["prepared"],
            feature_service=features.outputs["feature_service"],
            as_of=as_of,
        ).after(corrected)
    )
    options = tuning_pipeline(
        training_set=retrieved.outputs["training_set"],
        base_model=base_model,
        hyperparameters=hyperparameters,
        tune_trials=tune_trials,
        seed=seed,
    )
    trained = place(
        fine_tune_classifier(
            training_set=retrieved.outputs["training_set"],
            base_model=base_model,
            hyperparameters=options.output,
            data_fingerprint=ingested.outputs["data_fingerprint"],
            feature_service=features.outputs["feature_service"],
            labels_as_of=retrieved.outputs["labels_as_of"],
            max_tokens=max_tokens,
            nodes=scale.nodes,
            gpus_per_node=scale.gpus_per_node,
            model_name=model_name,
        )
    )
    assessment_pipeline(
        model=trained.outputs["model"],
        training_set=retrieved.outputs["training_set"],
        prepared=prepared.outputs["prepared"],
        ingest_summary=ingested.outputs["ingest_summary"],
        prepare_summary=prepared.outputs["prepare_summary"],
        features_summary=features.outputs["features_summary"],
        label_noise_summary=noise.outputs["label_noise_summary"],
        accuracy_threshold=accuracy_threshold,
        macro_f1_threshold=macro_f1_threshold,
        champion_margin=champion_margin,
        resolved=resolved,
        facets=facets,
        bias_gate=bias_gate,
        model_name=model_name,
        approval=approval,
        data_fingerprint=ingested.outputs["data_fingerprint"],
        feature_service=features.outputs["feature_service"],
    )
