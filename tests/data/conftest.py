import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from components.data.ingest import ingest
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
        assert summary.rows_in == summary.rows_kept + summary.duplicates + summary.quarantined
        kept = pq.read_table(paths[0]).to_pylist()
        rejected = pq.read_table(paths[1]).to_pylist()
        assert len(kept) == summary.rows_kept
        assert len(rejected) == summary.quarantined == sum(summary.reasons.values())
        return SimpleNamespace(summary=summary, kept=kept, rejected=rejected, paths=paths)

    return run
