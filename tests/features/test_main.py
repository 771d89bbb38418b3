import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.features.__main__ import main
from components.features.publish import build_features


def test_lookup_prints_the_features_of_the_latest_version(
    store_dir: Path,
    make_prepared: Callable[..., Path],
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    services = [
        build_features(
            make_prepared(),
            str(tiny_bert),
            limit,
            "d",
            tmp_path / "f.parquet",
            tmp_path / "s.json",
        ).feature_service
        for limit in (16, 5)
    ]
    main(["lookup", "r00003", "r00007"])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["review_id"], second["review_id"]) == ("r00003", "r00007")
    assert first["feature_service"] == services[1]
    assert first["n_tokens"] == len(first["input_ids"]) == 5
    main(["services"])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == services
    with pytest.raises(SystemExit) as left:
        main(["lookup", "nope", "--feature-service", services[0]])
    assert left.value.code == 2
    assert "review nope is not in the online store" in capsys.readouterr().err
