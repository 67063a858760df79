"""Accuracy on the official test set of NYU Depth V2, beside two published small networks, as others measured it once.

`python -m benchmarks.nyu_test` reads benchmarks/results/nyu_test.json and fills the block "nyu_test" of README.md, of
benchmarks/README.md and of the card of the shipped model, and the block "nyu_test_distances" of benchmarks/README.md.
It measures nothing, and says so if the shipped weights are not the measured ones.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from depth_unet import DEFAULT_MODEL
from depth_unet.files import sha256_of, write_atomically
from train.documents import fill, markdown_table

HERE = Path(__file__).parent
DOCUMENTS = (HERE.parent / "README.md", HERE / "README.md")
CARD = Path(DEFAULT_MODEL) / "README.md"
SECTION = "\n### Official test set of NYU Depth V2\n\n<!-- nyu_test -->\n<!-- /nyu_test -->\n"
BEFORE = "\n## Training\n"  # in a card that train.publish has just written
ALIGNMENTS = {
    "none": "unaligned",
    "median": "median-aligned",
    "scale_shift_disparity": "scale-and-shift-aligned in disparity",
}


def table(results: list[dict[str, Any]]) -> str:
    """A row for each model, AbsRel / RMSE in metres / delta1 under each alignment that suits it."""
    rows = []
    for result in results:
        means = [result["metrics"].get(align) for align in ALIGNMENTS]
        cells = [f"{m['abs_rel']:.3f} / {m['rmse']:.3f} / {m['delta1']:.3f}" if m else None for m in means]
        rows.append([result["model"], *cells])
    return markdown_table(["AbsRel / RMSE in m / delta1", *ALIGNMENTS.values()], rows)


def distances(results: list[dict[str, Any]]) -> str:
    """AbsRel / delta1 for each true distance, without alignment, a column for each model that predicts metres."""
    metric = [result for result in results if result["distances"]]
    rows = [
        [found[0]["distance"], f"{found[0]['share']:.1%}", *(f"{f['abs_rel']:.3f} / {f['delta1']:.3f}" for f in found)]
        for found in zip(*(result["distances"] for result in metric), strict=True)
    ]
    return markdown_table(["true distance", "share of pixels", *(result["model"] for result in metric)], rows)


def text(measured: dict[str, Any], shipped: str) -> str:
    """The content of the block.

    Args:
        measured: contents of nyu_test.json.
        shipped: SHA-256 of the shipped weights.
    """
    results = measured["results"]
    ours = next(result for result in results if "sha256" in result)
    low, high = ours["intervals"]["abs_rel"]
    belongs = (
        "the shipped weights are the same"
        if ours["sha256"] == shipped
        else f"the shipped weights are others, `{shipped[:8]}...`, and were not measured on this test set"
    )
    return "\n\n".join(
        [
            f"Measured once: {measured['measured']}. Protocol: {ours['protocol']}.",
            table(results),
            "\n".join(f"- {result['model']}: {result['note']}." for result in results),
            f"95 % interval of the unaligned AbsRel of depth_unet: {low:.3f} to {high:.3f}. SHA-256 of the measured "
            f"weights: `{ours['sha256'][:8]}...`; {belongs}.",
        ]
    )


def main() -> None:
    """Fill the documents."""
    argparse.ArgumentParser("python -m benchmarks.nyu_test", description=__doc__).parse_args()
    measured = json.loads((HERE / "results" / "nyu_test.json").read_text("utf-8"))
    card = CARD.read_text("utf-8")
    if "<!-- nyu_test -->" not in card:
        write_atomically(CARD, card.replace(BEFORE, SECTION + BEFORE))
    content = text(measured, sha256_of(Path(DEFAULT_MODEL) / "model.safetensors"))
    for document in (*DOCUMENTS, CARD):
        fill(document, "nyu_test", content)
    fill(HERE / "README.md", "nyu_test_distances", distances(measured["results"]))


if __name__ == "__main__":
    main()
