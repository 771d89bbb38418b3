import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.ingest import UNDATED, ingest
from components.shared.machine.files import write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import REVIEW_SCHEMA
from tests.data.sample_generator import HEADER as KAGGLE


def kaggle_row(text="Fits well.", rating="5", number=0, **changes):
    values = (str(number), "7", "40", "Nice", text, rating, "1", "0", "General", "Tops", "Knits")
    return list((dict(zip(KAGGLE, values, strict=True)) | changes).values())


def as_csv(*rows, header=KAGGLE, delimiter=","):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


@pytest.fixture
def run_ingest(tmp_path):
    def run(content, name="reviews.csv", **options):
        source = content
        if not isinstance(content, Path):
            source = tmp_path / name
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(content.encode() if isinstance(content, str) else content)
        paths = [tmp_path / "out" / part for part in ("reviews", "quarantine", "summary.json")]
        summary = ingest(str(source), *paths, **{"max_rejected_share": 1.0} | options)
        lost = summary.duplicates + summary.quarantined + summary.forgotten
        assert summary.rows_in == summary.rows_kept + lost
        kept = pq.read_table(paths[0]).to_pylist()
        rejected = pq.read_table(paths[1]).to_pylist()
        assert len(kept) == summary.rows_kept
        assert len(rejected) == summary.quarantined == sum(summary.reasons.values())
        return SimpleNamespace(summary=summary, kept=kept, rejected=rejected, paths=paths)

    return run


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """An empty folder that the environment names as the catalogue's."""
    folder = tmp_path / "state" / "warehouse"
    name_catalogue(monkeypatch, folder)
    return folder


def name_catalogue(monkeypatch, folder):
    monkeypatch.setenv("CATALOGUE_URI", f"sqlite:///{folder}/catalogue.db")
    monkeypatch.setenv("CATALOGUE_WAREHOUSE", str(folder))


def write_reviews(path, rows, labels=SENTIMENTS):
    """Reviews as ingest writes them; what a row leaves out is made up."""
    made = [
        {"review_id": f"id{i}", "review_body": "Fits well.", "event_timestamp": UNDATED} | row
        for i, row in enumerate(rows)
    ]
    write_parquet(path, pa.Table.from_pylist(made, schema=labels.on(REVIEW_SCHEMA)))
    return path
