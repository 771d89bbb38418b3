import json

import pytest

from components.features.__main__ import main


def test_lookup_prints_the_latest_features(store_dir, build, make_prepared, capsys):
    services = [build(make_prepared(), limit).feature_service for limit in (16, 5)]
    newest = "sentiment_training"
    main(["lookup", "r00003", "r00007"])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["review_id"], second["review_id"]) == ("r00003", "r00007")
    assert first["feature_service"] == newest
    assert first["n_tokens"] == len(first["input_ids"]) == 5
    main(["services"])
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in listed} == {*services, newest}
    with pytest.raises(SystemExit) as left:
        main(["lookup", "nope", "--feature-service", services[0]])
    assert left.value.code == 2
    assert "review nope is not in the online store" in capsys.readouterr().err
