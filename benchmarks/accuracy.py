"""How good, beside two published small networks: whole frames, and the centre crop that FastDepth was published with.

`python -m benchmarks.accuracy --data rgbd:nyu_val.tar` writes benchmarks/results/accuracy.json and fills the block
"accuracy" of benchmarks/README.md. Everything goes through the code of `train.evaluate`, in one run.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.peers import open_any
from depth_unet import DEFAULT_MODEL
from depth_unet.files import write_json
from train.card import fill, sources_of
from train.data import open_data
from train.evaluate import Centre, evaluate, interval, mean_over_frames

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / "shared/peers"
FASTDEPTH, TCSMALLNET = PEERS / "fastdepth_224_int8.tflite", PEERS / "tcmonodepth_tcsmallnet_192x320.onnx"
CENTRE = 0.912  # 304x228 of 333x250, from which FastDepth's 224x224 is squeezed
PROTOCOLS = {
    "metric": (1.0, "none"),
    "metric, centre crop": (CENTRE, "none"),
    "median-aligned": (1.0, "median"),
    "median-aligned, centre crop": (CENTRE, "median"),
    "scale and shift of disparity": (1.0, "scale_shift_disparity"),
}


def markdown_table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """AbsRel / RMSE in metres / delta1: a row for each contender, a column for each protocol."""
    lines = ["| | " + " | ".join(PROTOCOLS) + " |", "|---" * (len(PROTOCOLS) + 1) + "|"]
    for name, scores in rows.items():
        found = [scores.get(protocol) for protocol in PROTOCOLS]
        cells = [f"{s['abs_rel']:.3f} / {s['rmse']:.3f} / {s['delta1']:.3f}" if s else "" for s in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("--data", required=True, help="KIND:PATH to measure on")
    parser.add_argument("--fastdepth", type=Path, default=FASTDEPTH)
    parser.add_argument("--tcsmallnet", type=Path, default=TCSMALLNET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = open_data(options.data, "val")
    trained_here = "*" if sources_of(whole) == ["nyu_depth_v2"] else ""
    contenders = {
        "depth_unet": options.model,
        "FastDepth" + trained_here: options.fastdepth,
        "TCSmallNet": options.tcsmallnet,
    }
    rows, intervals, left_out = {}, {}, []
    for name, model in contenders.items():
        try:
            opened = open_any(str(model))
        except (ImportError, FileNotFoundError) as error:
            left_out.append(f"{name}: {type(error).__name__}, see --help")
            continue
        frames = {share: evaluate(opened, Centre(whole, share)) for share in (1.0, CENTRE)}
        means = {share: mean_over_frames(found) for share, found in frames.items()}
        rows[name] = {p: means[share][align] for p, (share, align) in PROTOCOLS.items() if align in means[share]}
        if "none" in means[1.0]:
            intervals[name] = {metric: interval(frames[1.0], metric) for metric in ("abs_rel", "delta1")}
    table = markdown_table(rows)
    spread = "; ".join(
        f"{name} AbsRel {bounds['abs_rel'][0]:.3f} to {bounds['abs_rel'][1]:.3f}, "
        f"delta1 {bounds['delta1'][0]:.3f} to {bounds['delta1'][1]:.3f}"
        for name, bounds in intervals.items()
    )
    about = (
        f"AbsRel / RMSE in metres / delta1, means over {len(whole)} frames of "
        f"{Path(options.data.partition(':')[2]).name}, where the mask is valid (NYU: Eigen crop) and 0.3 to 10 m. The "
        f"centre crop is the middle {CENTRE:.1%} of each side, shown to all networks. 95 % intervals of the first "
        f"column: {spread}." + (" *: trained on the scenes that these frames show." if trained_here else "")
    )
    print(f"{about}\n\n{table}")
    for reason in left_out:
        print(f"left out: {reason}")
    results = {"about": about, "rows": rows, "intervals": intervals, "left_out": left_out}
    write_json(HERE / "results" / "accuracy.json", results)
    fill(HERE / "README.md", "accuracy", f"{about}\n\n{table}")


if __name__ == "__main__":
    main()
