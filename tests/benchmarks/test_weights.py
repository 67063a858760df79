"""What the changelog says about the weights is what was measured of the shipped ones."""

import json

from benchmarks import weights
from depth_unet import DEFAULT_MODEL, open_model
from train.documents import filled

CHANGELOG = weights.HERE.parent / "CHANGELOG.md"
RESULTS = weights.HERE / "results" / "weights.json"


def test_changelog_and_table_are_those_of_the_shipped_weights():
    results = json.loads(RESULTS.read_text())
    old, *_, new = results["models"]
    assert new["sha256"] == open_model(DEFAULT_MODEL).sha256
    text = CHANGELOG.read_text()
    assert text == filled(text, "weights", weights._summary_list(old["title"], new["title"], results["data"]))


def test_lines_go_from_the_first_model_to_the_last():
    def scores(abs_rel: float, delta1: float) -> dict:
        return {"metrics": {"none": {"abs_rel": abs_rel, "delta1": delta1}}}

    text = weights._summary_list("1", "2", {"hall.tar": {"2": scores(0.25, 0.75), "1": scores(0.5, 0.125)}})
    assert text.splitlines()[1:] == ["  - hall.tar: 0.500 / 0.125 -> 0.250 / 0.750"]
