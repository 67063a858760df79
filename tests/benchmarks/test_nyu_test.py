"""The result on NYU's test set belongs to the weights that were measured, and the documents quote it."""

import json
from pathlib import Path

import pytest

from benchmarks.nyu_test import CARD, DOCUMENTS, HERE, text
from depth_unet import DEFAULT_MODEL
from depth_unet.files import sha256_of

MEASURED = json.loads((HERE / "results" / "nyu_test.json").read_text("utf-8"))


@pytest.mark.parametrize("document", [*DOCUMENTS, CARD], ids=str)
def test_documents_are_filled_for_the_shipped_weights(document: Path):
    assert text(MEASURED, sha256_of(Path(DEFAULT_MODEL) / "model.safetensors")) in document.read_text("utf-8")


def test_a_result_of_other_weights_says_so():
    measured = next(result["sha256"] for result in MEASURED["results"] if "sha256" in result)
    assert "the shipped weights are the same" in text(MEASURED, measured)
    other = text(MEASURED, "0" * 64)
    assert "the shipped weights are others" in other and "depth_unet 0.1.0" in other
