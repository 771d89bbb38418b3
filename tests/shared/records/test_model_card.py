import pytest
from huggingface_hub import ModelCard

from components.shared.machine.files import write_json
from components.shared.records.card_sections import Summaries, escaped
from components.shared.records.model_card import (
    LONGEST_DESCRIPTION,
    description_of,
    write_model_card,
)

LABELS = {"0": "bad", "1": "fair", "2": "good"}
SCORES = {
    "accuracy": {"value": 0.87, "low": 0.83, "high": 0.9},
    "macro_f1": {"value": 0.71, "low": 0.6, "high": 0.8},
}


@pytest.fixture
def card_of(tmp_path):
    def card(base_model="minilm", offsets=(0, 0, 0), training=None, **summaries):
        write_json(tmp_path / "config.json", {"id2label": LABELS})
        calibration = {"temperature": 1, "decision_offsets": offsets}
        write_json(tmp_path / "calibration.json", calibration)
        facts = {"base_model": base_model, "max_tokens": 160, "class_prior": [0.1, 0.2, 0.7]}
        facts |= {"facts": {"data_fingerprint": "abcdef0123456789", "base_model": base_model}}
        facts |= {"best": {"accuracy": 0.85, "macro_f1": 0.7}, "rows": {"train": 1200}}
        write_json(tmp_path / "training.json", facts | (training or {}))
        write_model_card(tmp_path, Summaries(**summaries), "reviews")
        return ModelCard.load(tmp_path / "README.md")

    return card


def test_the_hub_reads_what_the_model_is_and_how_good(card_of):
    card = card_of(evaluation={"scores": SCORES})
    said = card.data.to_dict()
    assert (said["license"], said["language"]) == ("apache-2.0", "en")
    assert said["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert said["pipeline_tag"] == "text-classification"
    assert said["datasets"] == ["reviews-abcdef012345"]
    accuracy, macro_f1 = card.data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.87)
    assert (macro_f1.metric_name, macro_f1.metric_value) == ("macro-F1", 0.71)
    assert macro_f1.metric_args == {"interval_95": [0.6, 0.8]}
    assert "| macro-F1 | 0.7100 | 0.6000 to 0.8000 |" in card.text
    assert "1200 reviews (bad 10.0%, fair 20.0%, good 70.0%)" in card.text


def test_before_evaluation_validation_speaks(card_of):
    card = card_of()
    assert card.data.eval_results is None
    assert "| macro-F1 | 0.7000 |" in card.text


def test_offsets_are_stated_where_they_decide(card_of):
    assert "The most probable class is the answer." in card_of().text
    assert "bad +0.00, fair +0.35, good +0.00" in card_of(offsets=(0, 0.35, 0)).text


def test_a_folder_of_ones_own_is_no_hub_model_and_stays_private(card_of, tmp_path):
    card = card_of(base_model=str(tmp_path))
    assert "base_model" not in card.data.to_dict()
    assert str(tmp_path.parent) not in card.content
    assert card_of(base_model="roberta-base").data.base_model == "roberta-base"


def test_licence_and_language_are_the_environments(card_of, monkeypatch):
    monkeypatch.setenv("MODEL_LICENSE", "mit")
    monkeypatch.setenv("MODEL_LANGUAGE", "de")
    assert (card_of().data.license, card_of().data.language) == ("mit", "de")


EVIL = "<img src=x onerror=alert(1)> [x](http://y) | _a_ `b`\n# head"

EVALUATION = {
    "rows": 1929,
    "scores": SCORES,
    "per_class": [
        {
            "name": "bad",
            "support": 203,
            **dict.fromkeys(("precision", "recall", "f1"), SCORES["accuracy"]),
        }
    ],
    "slices": {
        "category": [
            {"name": EVIL, "rows": 508, **SCORES},
            {"name": "Knits", "rows": 403, **SCORES},
        ]
    },
    "warnings": ["The test split has only 12 fair reviews: their scores are rough."],
    "reviews_per_second": 310.0,
}
BIAS = {
    "headline": "1 of 33 groups differ for sure.",
    "facets": [{"name": "product_category"}, {"name": "age"}],
    "findings": [f"Product category, share of bad: in the data less in {EVIL}."],
    "gate": {"limit": "DPPL:bad:age<=0.1", "reason": "In no group is it beyond 0.1."},
}
EXPLANATION = {
    "deletion": {"value": 0.287, "low": 0.25, "high": 0.32, "random": 0.001},
    "completeness_error": 0.004,
}


def test_the_card_tells_what_every_step_found(card_of):
    training = {"weak_share": 0.25, "machine": "2 CPU cores"}
    training |= {"speed": {"seconds": 780.0, "samples_per_second": 59.4}}
    noise = {"rows": 17363, "suspects": 1034, "verdict": "Cleaning does not help."}
    ingest = {"source": "s3://key:secret@bucket/reviews.csv", "rows_in": 20000, "rows_kept": 19292}
    card = card_of(
        training=training,
        evaluation=EVALUATION,
        bias=BIAS,
        explanation=EXPLANATION,
        label_noise=noise,
        ingest=ingest,
    )
    for told in (
        "1200 reviews (bad 10.0%, fair 20.0%, good 70.0%), watched on",
        "judged on 1,929 test reviews",
        "source: `s3://bucket/reviews.csv`, 20,000 rows read, 19,292 kept",
        "25.0% of the training labels are guesses",
        "6.0% of the labels are in doubt. Cleaning does not help.",
        "| bad | 203 | 0.870 (0.830 to 0.900) |",
        "| Knits | 403 | 0.870 (0.830 to 0.900) | 0.710 (0.600 to 0.800) |",
        "By product category, age, with intervals",
        "1 of 33 groups differ for sure.",
        "Limit `DPPL:bad:age<=0.1`: In no group",
        "by 0.29 (0.25 to 0.32) on average; deleting as many words at random, by 0.00.",
        "by 0.4% (median)",
        "only 12 fair reviews",
        "Not for decisions about people",
        "trained in 13 min on 2 CPU cores, 59 reviews a second",
    ):
        assert told in card.text
    assert "secret" not in card.text
    assert "nan" not in card.text.lower().split()


def test_a_name_from_the_data_is_no_markup(card_of):
    from markdown_it import MarkdownIt

    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(card_of(evaluation=EVALUATION, bias=BIAS).text)
    )
    assert "<img" not in html
    assert "<a href" not in html
    assert "<em>a</em>" not in html
    shown = "&lt;img src=x onerror=alert(1)&gt; [x](http://y) | _a_ `b` # head"
    assert f"<td>{shown}</td>" in html
    assert f"less in {shown}." in html


@pytest.mark.parametrize("text", ["- x", "1. x", "# x", "+ x", "=== x"])
def test_a_name_that_begins_like_a_list_or_a_heading_is_text(text):
    from markdown_it import MarkdownIt

    assert MarkdownIt().render(f"- {escaped(text)}") == f"<ul>\n<li>{text}</li>\n</ul>\n"


SENSELESS = [
    {"bias": {"headline": None, "findings": 3}},
    {"explanation": {"deletion": {"value": None, "random": 0.1}, "completeness_error": None}},
    {"explanation": {"deletion": 3}},
    {"label_noise": {"rows": 0, "suspects": 0}},
    {"ingest": {"rows_in": "many"}},
    {"evaluation": {"slices": None, "per_class": None, "warnings": None}},
    {"evaluation": {"per_class": [{"name": "bad", "f1": {"value": float("nan")}}]}},
]


@pytest.mark.parametrize("summaries", SENSELESS)
def test_what_a_summary_lacks_has_no_line_and_no_nan(card_of, summaries):
    text = card_of(**summaries).text.replace("top_k=None", "")
    assert "nan" not in text.lower()
    assert "None" not in text
    for absent in ("## Bias", "## Explanations", "in doubt", "source:", "## Slices"):
        assert absent not in text


def test_a_description_fits_the_databases_column_and_says_what_was_cut(card_of, tmp_path):
    card_of(evaluation=EVALUATION)
    whole = description_of(tmp_path)
    assert whole.startswith("# Sentiment of product reviews")
    assert whole.endswith((tmp_path / "README.md").read_text()[-200:])
    card_of(bias=BIAS | {"findings": [f"Finding {number}" * 10 for number in range(100)]})
    cut = description_of(tmp_path)
    assert len(cut) <= LONGEST_DESCRIPTION
    assert cut.endswith("README.md of this version's files.\n")
    assert all(line.count("Finding") in (0, 1, 10) for line in cut.splitlines())
