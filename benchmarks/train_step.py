"""How fast networks train: the default, the paper's preset, and the network of the keras.io depth example.

`python -m benchmarks.train_step` takes turns at steps of each on the same device, batch, input and precision, writes
benchmarks/results/train_step.json and fills the block "train_step" of docs/training.md.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from depth_unet import DepthUNet, DepthUNetConfig
from depth_unet.files import write_json
from train.batches import Batch
from train.config import TrainConfig
from train.documents import fill
from train.ema import MovingAverage
from train.step import train_step

ROOT = Path(__file__).parent.parent
NAMES = ("default", "paper", "keras example")


class _Twice(nn.Module):
    """Two 3x3 convolutions, each with normalisation (if wanted) and leaky ReLU; the first one is added at the end."""

    def __init__(self, inside: int, outside: int, residual: bool, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, padding=1)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outside) if norm else nn.Identity() for _ in range(2)])
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        x = F.leaky_relu(self.norms[0](first), 0.2)
        x = F.leaky_relu(self.norms[1](self.second(x)), 0.2)
        return x + first if self.residual else x


class KerasExample(nn.Module):
    """The U-Net of the keras.io monocular depth example: 16 to 256 filters, residual blocks on the way down."""

    def __init__(self, config: DepthUNetConfig, filters: tuple[int, ...] = (16, 32, 64, 128, 256)) -> None:
        super().__init__()
        self.config = config
        *outer, inner = filters
        self.down = nn.ModuleList([_Twice(a, b, True) for a, b in zip((3, *outer), outer, strict=False)])
        self.middle = _Twice(outer[-1], inner, False, norm=False)
        below = (inner, *outer[:0:-1])
        self.up = nn.ModuleList([_Twice(b + a, a, False) for a, b in zip(outer[::-1], below, strict=True)])
        self.head = nn.Conv2d(outer[0], 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Metres, over the same range as the others, so that all have the same loss to bear."""
        x, kept = images, []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for block, skip in zip(self.up, reversed(kept), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        near, far = math.log(self.config.min_depth), math.log(self.config.max_depth)
        return torch.exp(near + (far - near) * torch.sigmoid(self.head(x).float()))


def build(name: str, size: list[int]) -> nn.Module:
    """A network by name, with its weights laid out for convolutions."""
    torch.manual_seed(0)
    if name == "keras example":
        network = KerasExample(DepthUNetConfig(input_size=size))
    else:
        network = DepthUNet((DepthUNetConfig.paper if name == "paper" else DepthUNetConfig)(input_size=size))
    return network.to(memory_format=torch.channels_last).train()


def batch_of(count: int, size: list[int], device: torch.device) -> Batch:
    """Noise with smooth depths."""
    images = torch.rand(count, 3, *size)
    depths = F.interpolate(torch.rand(count, 1, 4, 4) * 8 + 1, size, mode="bilinear")
    valids = torch.rand(count, 1, *size) > 0.1
    return Batch(*(t.to(device) for t in (images, depths, valids)), ["noise"] * count, [])


class Stepper:
    """One network, and its two kinds of step.

    Args:
        name: of `NAMES`.
        batch: what it trains on.
        accelerator: device and precision.
        compiled: let torch.compile have the network.
    """

    def __init__(self, name: str, batch: Batch, accelerator: Accelerator, compiled: bool = False) -> None:
        self.batch, self.accelerator = batch, accelerator
        self.network = build(name, list(batch.images.shape[-2:])).to(accelerator.device)
        self.config = TrainConfig()
        self.loss_of = self.config.loss(self.network.config)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-5, fused=accelerator.device.type == "cuda")
        self.average = MovingAverage(self.network, self.config.ema_decay)
        self.forward = torch.compile(self.network) if compiled else self.network

    def whole(self) -> None:
        """As `train` does it: loss with its terms, average of the weights, figures for the log."""
        train_step(self.forward, self.loss_of, self.optimizer, self.batch, self.accelerator, self.config.clip_norm)
        self.average.update_parameters(self.network)
        self._wait()

    def bare(self) -> None:
        """The network alone, there and back, with the simplest loss there is, and the optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.accelerator.autocast():
            predicted = self.forward(self.batch.images)
        predicted.mean().backward()
        self.optimizer.step()
        self._wait()

    def flops(self) -> float:
        """Floating point operations of a step's convolutions: three times those of the way there.

        The counter itself overstates the way back through convolutions in groups.
        """
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            self.network(self.batch.images)
        return 3 * counter.get_total_flops()

    def _wait(self) -> None:
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()


def medians(
    actions: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each; they take turns, so that a busy moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            began = clock()
            action()
            if turn:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def ceiling(device: torch.device, dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Operations per second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))

    def product() -> None:
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()

    return 2 * side**3 / min(medians({"product": product}, 1, clock)["product"] for _ in range(20))


def peak_of_this_process() -> int:
    """Bytes resident at the most so far (Linux; getrusage would tell the parent's)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def peak_memory(name: str, options: argparse.Namespace, device: torch.device) -> int:
    """Bytes at the most, in a fresh process on a CPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        accelerator = Accelerator(mixed_precision=options.precision)
        stepper = Stepper(name, batch_of(options.batch_size, options.size, device), accelerator)
        stepper.whole()
        stepper.whole()
        return torch.cuda.max_memory_allocated() - before
    command = [sys.executable, "-m", "benchmarks.train_step", "--memory-of", name, "--rounds", "2"]
    command += ["--batch-size", str(options.batch_size), "--size", *map(str, options.size)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32 if cuda else 2, help="pictures in a step")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 256], help="height and width, pixels")
    parser.add_argument("--precision", default="bf16" if cuda else "no", choices=("no", "bf16"))
    parser.add_argument("--rounds", type=int, default=50 if cuda else 5, help="steps of each that are timed")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--compile", action="store_true", default=cuda, help="also with torch.compile")
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    accelerator = Accelerator(cpu=not cuda, mixed_precision=options.precision)
    device = accelerator.device
    batch = batch_of(options.batch_size, options.size, device)
    if options.memory_of:
        before = peak_of_this_process()
        stepper = Stepper(options.memory_of, batch, accelerator)
        for _ in range(options.rounds):
            stepper.whole()
        print(peak_of_this_process() - before)
        return

    steppers = {name: Stepper(name, batch, accelerator) for name in NAMES}
    if options.compile:
        steppers |= {f"{name}, compiled": Stepper(name, batch, accelerator, compiled=True) for name in NAMES}
    actions: dict[str, Callable[[], None]] = {}
    for name, stepper in steppers.items():
        actions |= {f"{name}|whole": stepper.whole, f"{name}|bare": stepper.bare}
    # One thread's own time is the wall clock's on a quiet machine, and the same on a busy one.
    clock = time.perf_counter if cuda or options.threads > 1 else time.process_time
    seconds = medians(actions, options.rounds, clock)
    top = ceiling(device, torch.bfloat16 if options.precision == "bf16" else torch.float32, clock)
    base = seconds["keras example|whole"]
    rows = {}
    for name, stepper in steppers.items():
        whole, bare = seconds[f"{name}|whole"], seconds[f"{name}|bare"]
        plain = name.removesuffix(", compiled")
        rows[name] = {
            "million_parameters": sum(p.numel() for p in stepper.network.parameters()) / 1e6,
            "images_per_second": options.batch_size / whole,
            "over_keras_example": base / whole,
            "outside_the_network": 1 - bare / whole,
            "share_of_ceiling": steppers[plain].flops() / whole / top,
            "gflop_per_image": steppers[plain].flops() / options.batch_size / 1e9,
        }
    steppers.clear()
    for name in NAMES:
        rows[name]["peak_memory_bytes"] = peak_memory(name, options, device)

    what = torch.cuda.get_device_name() if cuda else f"CPU, {options.threads} thread(s)"
    about = (
        f"{what}; batches of {options.batch_size} at {options.size[0]}x{options.size[1]}, "
        f"{'bf16' if options.precision == 'bf16' else 'float32'}, channels_last; matrix products reach "
        f"{top / 1e12:.2f} TFLOP/s."
    )
    lines = [
        "| network | M parameters | GFLOP/image, both ways | images/s | over keras example | outside the network | "
        "of the matrix ceiling | peak memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        memory = f"{row['peak_memory_bytes'] / 1e6:.0f}" if "peak_memory_bytes" in row else ""
        lines.append(
            f"| {name} | {row['million_parameters']:.2f} | {row['gflop_per_image']:.1f} | "
            f"{row['images_per_second']:.2f} | {row['over_keras_example']:.2f} | {row['outside_the_network']:.1%} | "
            f"{row['share_of_ceiling']:.1%} | {memory} |"
        )
    table = "\n".join(lines)
    print(f"{about}\n\n{table}")
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    write_json(ROOT / "benchmarks/results/train_step.json", {"about": about, "networks": rows})
    fill(ROOT / "docs/training.md", "train_step", f"{about}\n\n{table}")


if __name__ == "__main__":
    main()
