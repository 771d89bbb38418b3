from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.monitoring.monitor import MonitoringOptions, concept_drift, monitor
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.monitoring_summary import Accuracy, read_monitoring_summary
from components.shared.records.reviews import predictions_schema
from tests.monitoring.made_up_log import NAMES, SINCE, UNTIL, digest_of
from tests.monitoring.test_audited import resolved
from tests.monitoring.test_domain_classifier import texts


def look(log, model, options=None, **more):
    return monitor(log, model, SINCE, UNTIL, options, **more)


def test_the_same_kind_of_answers_is_no_drift(model, log):
    found = look(log(), model)
    assert (found.verdict, found.drifted, found.in_words) == ("no drift", "no", "")
    assert len(found.findings) == 8
    assert found.alpha == pytest.approx(1 / 365)
    assert found.not_compared == {"the texts as a whole": "the log keeps no texts"}
    assert found.sentence.startswith("The 2,000 different texts of this window are like those")


def test_twice_as_many_dresses_are_drift_in_the_category_alone(model, log):
    found = look(log(dresses=0.4), model)
    assert (found.verdict, found.drifted) == ("drifted", "yes")
    assert [one.name for one in found.found] == ["product_category"]
    assert "reviews of Dresses come about twice as often as in training: 4" in found.in_words


def test_strange_texts_are_called_another_language(model, log):
    columns = {"unknown_share": 1.0, "function_word_share": 0.02}
    plain = {
        "unknown_share": np.random.default_rng(5).beta(1, 60, 2000),
        "function_word_share": np.random.default_rng(6).beta(40, 40, 2000),
    }
    mixed = {
        name: np.where(np.arange(2000) % 40 == 0, columns[name], values)
        for name, values in plain.items()
    }
    found = look(log(**mixed), model)
    assert found.causes == [
        "about 2.5 % of the reviews seem to be in another language: hardly any English function "
        "words, and words that training did not know"
    ]
    only = look(log(seed=3, folder="misspelt", unknown_share=plain["unknown_share"] + 0.02), model)
    assert only.causes == [
        "words are misspelt more often than in training, or are new to the model"
    ]


def test_a_change_too_small_to_matter_is_no_alarm(model, log):
    folder = log(dresses=0.4)
    assert look(folder, model, MonitoringOptions(min_effect=0.3)).verdict == "no drift"


def test_too_little_is_not_called_no_drift(model, log):
    found = look(log(rows=400, dresses=0.9), model)
    assert (found.verdict, found.drifted, found.findings) == ("too little data", "unknown", [])
    assert found.sentence.startswith("Only 400 different texts were asked about")


def test_repeats_do_not_make_up_for_too_little(model, log):
    digests = [digest_of(n % 400) for n in range(2000)]
    found = look(log(text_sha256=digests), model)
    assert (found.rows, found.texts, found.verdict) == (2000, 400, "too little data")


def test_a_text_that_is_asked_again_and_again_is_no_drift(model, log):
    log(dresses=0.2)
    again = [digest_of("again")] * 600
    found = look(log(rows=600, dresses=1.0, text_sha256=again), model)
    assert (found.rows, found.texts, found.verdict) == (2600, 2001, "no drift")


def test_an_empty_window_is_too_little_data(model, log, tmp_path):
    found = look(log(model_version="2"), model)
    assert (found.rows, found.verdict) == (0, "too little data")
    assert found.versions == {"2": 2000}


def test_columns_that_an_old_log_lacks_are_named_and_not_compared(model, log):
    none = [None] * 2000
    found = look(log(product_category=none, n_words=none, unknown_share=none), model)
    assert found.not_compared["product category"] == "the log does not hold it"
    assert {one.name for one in found.findings} == {
        *("label", "confidence", "function_word_share", "non_ascii_share", "distinct_share")
    }


def test_not_a_number_is_no_value(model, log):
    share = np.full(2000, np.nan, np.float32)
    share[:1000] = np.random.default_rng(0).beta(1, 60, 1000)
    found = look(log(unknown_share=share), model)
    (one,) = [one for one in found.findings if one.name == "unknown_share"]
    assert one.rows == 1000
    assert not one.drifted


def test_kept_texts_are_compared_with_those_of_the_test_split(model, log, tmp_path):
    known = texts(1500, 0)
    columns = {name: [""] * 1500 for name in ("review_id", "title", "product_category", "label")}
    columns |= {"review_body": known, "sentiment": [1] * 1500, "predicted": [1] * 1500}
    columns |= {f"p_{name}": [1 / 3] * 1500 for name in NAMES}
    schema = predictions_schema()
    pq.write_table(
        pa.table([columns[name] for name in schema.names], schema=schema), tmp_path / "p"
    )
    kept = texts(2000, 1, ["zipper", "velcro"], share=0.3)
    found = look(log(text=kept), model, predictions=tmp_path / "p")
    assert [one.name for one in found.found] == ["texts"]
    assert found.found[0].new_words[0] in ("zipper", "velcro")
    assert "zipper" in found.in_words
    without = look(log(seed=2, folder="another", text=kept), model)
    assert without.not_compared["the texts as a whole"] == "no texts to compare with were given"


def test_checked_answers_tell_how_right_it_is(model, log, tmp_path):
    """The test set says .9; people find half of the answers wrong."""
    ids = [f"r{n}" for n in range(2000)]
    folder = log(review_id=ids, label=["positive"] * 2000, p_positive=[0.9] * 2000)
    drawn = [(name, 0.2) for name in ids[::5]]
    place = resolved(tmp_path / "resolved", drawn[::2], sentiment=1)
    resolved(tmp_path / "resolved", drawn[1::2], sentiment=-1)
    found = look(folder, model, resolved=place)
    assert found.test_accuracy.value == pytest.approx(0.9)
    assert found.live_accuracy.labels == 400
    assert found.live_accuracy.value == pytest.approx(0.5)
    assert [one.week for one in found.weeks] == ["2026-W45", "2026-W46"]
    assert found.concept_drift == "yes"
    assert "worse, beyond what chance does in" in found.concept_sentence
    right = look(folder, model)
    assert (right.concept_drift, right.live_accuracy) == ("unknown", None)


def test_concept_drift_is_two_intervals_apart():
    test = Accuracy(0.9, 0.88, 0.92, 2000, 2000)
    live = Accuracy(0.84, 0.80, 0.88, 2000, 300)
    assert concept_drift(live, test)[0] == "no"
    assert concept_drift(replace(live, high=0.879), test)[0] == "yes"
    better = concept_drift(replace(live, value=0.95, low=0.93, high=0.97), test)
    assert better[0] == "yes"
    assert "better" in better[1]
    assert concept_drift(None, test)[0] == concept_drift(live, None)[0] == "unknown"


def test_the_summary_is_json_that_reads_back(model, log, tmp_path):
    found = look(log(dresses=0.4), model)
    write_json(tmp_path / "summary", asdict(found))
    assert read_monitoring_summary(tmp_path / "summary") == found
    write_json(tmp_path / "other", {"rows": 3})
    with pytest.raises(UserError, match="is not the summary of a look"):
        read_monitoring_summary(tmp_path / "other")


@pytest.mark.parametrize("options", [{"min_rows": 0}, {"min_effect": 1.0}, {"min_effect": -0.1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UserError, match="min_rows is"):
        MonitoringOptions(**options)
