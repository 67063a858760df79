"""Models that others wrote: a config and weights are checked before memory is taken and before anything is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from depth_unet import DepthUNet, DepthUNetConfig, open_model
from depth_unet.model import CONFIG_FILE, WEIGHTS_FILE


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | values))


def change_weights(folder: Path, change) -> None:
    tensors = change(load_file(folder / WEIGHTS_FILE))
    save_file(tensors, folder / WEIGHTS_FILE)


LIMITED = """
import resource, sys
from depth_unet import DepthUNet
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, -1))
try:
    DepthUNet.from_pretrained(sys.argv[1])
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux does")
@pytest.mark.parametrize(
    "wrong",
    [
        {"decoder_channels": [4096] * 5},
        {"depth_bins": 4096, "decoder_channels": [8, 8, 8, 4096, 4096]},
        {"encoder": "tu-vit_giant_patch14_dinov2"},
        {"encoder": "tu-convnext_xxlarge"},
        {"encoder": "vgg19_bn"},
    ],
)
def test_no_memory_for_a_network_that_the_weights_are_not_of(saved: Path, wrong: dict) -> None:
    change_config(saved, **wrong)
    command = [sys.executable, "-c", LIMITED, str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "does not fit" in done.stdout or "cannot process" in done.stdout


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"decoder_channels": [16, 8, 8, 8, 8]}, "does not fit the network.*of another shape"),
        ({"depth_bins": 0}, "does not fit the network: 2 unknown"),
        ({"depth_bins": 32}, "of another shape"),
        ({"encoder": "resnet18"}, "does not fit the network"),
        ({"encoder": "tu-hf-hub:owner/name"}, "config.json cannot be used: encoder must be a plain name"),
        ({"encoder": "no_such_encoder"}, "no encoder 'no_such_encoder'"),
        ({"encoder": "x" * 5000}, "no encoder 'xxx"),
        ({"dropout": "x" * 5000}, "dropout must be a real number, not 'xxx"),
        ({"input_size": [10**9, 64]}, "config.json cannot be used: input_size"),
        ({"image_std": [1e-30] * 3}, "config.json cannot be used: image_std"),
        ({"max_depth": None}, "config.json cannot be used: max_depth"),
    ],
)
def test_a_config_of_another_network(saved: Path, wrong: dict, words: str) -> None:
    change_config(saved, **wrong)
    with pytest.raises(ValueError, match=words) as refused:
        DepthUNet.from_pretrained(saved)
    assert len(str(refused.value).replace(str(saved), "")) < 500 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\xfa",
        b"[" * 100_000,
        b'{"encoder": ' * 5000,
        b'{"encoder": "resnet18", "min_depth": NaN}',
        b'{"encoder": "resnet18", "max_depth": Infinity}',
        b'{"encoder": "resnet18", "max_depth": 1e999}',
        b'{"encoder": "resnet18", "depth_bins": ' + b"9" * 5000 + b"}",
        b"PK\x03\x04 a zip",
        b"\x80\x04\x95 a pickle",
    ],
)
def test_a_config_that_is_none(saved: Path, content: bytes) -> None:
    (saved / CONFIG_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json cannot be used"):
        DepthUNet.from_pretrained(saved)


def test_a_config_of_a_petabyte_and_one_that_is_a_folder(saved: Path) -> None:
    with (saved / CONFIG_FILE).open("r+b") as file:
        try:
            file.truncate(1 << 42)
        except OSError:
            file.truncate(1 << 33)  # the most that this file system takes
    with pytest.raises(ValueError, match=r"config\.json has .* bytes"):
        DepthUNet.from_pretrained(saved)
    (saved / CONFIG_FILE).unlink()
    (saved / CONFIG_FILE).mkdir()
    with pytest.raises(FileNotFoundError, match=r"contains no config\.json"):
        DepthUNet.from_pretrained(saved)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_floats_are_accepted(saved: Path, tiny_model: DepthUNet, dtype: torch.dtype) -> None:
    change_weights(saved, lambda tensors: {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()})
    loaded = DepthUNet.from_pretrained(saved).state_dict()
    for name, value in tiny_model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        torch.testing.assert_close(loaded[name], value.to(dtype).to(value.dtype))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_other_types_are_refused(saved: Path, dtype: torch.dtype) -> None:
    change_weights(saved, lambda tensors: {k: v.to(dtype) if v.ndim == 4 else v for k, v in tensors.items()})
    with pytest.raises(ValueError, match="float32, float16, bfloat16, float64 are accepted"):
        DepthUNet.from_pretrained(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("name", ["unet.segmentation_head.0.bias", "unet.encoder.features.0.1.running_var"])
def test_weights_that_are_not_finite_are_refused(saved: Path, name: str, value: float) -> None:
    def change(tensors: dict) -> dict:
        tensors[name] = tensors[name].double()
        tensors[name][0] = value
        return tensors

    change_weights(saved, change)
    with pytest.raises(ValueError, match=f"1 tensors with NaN or infinite weights .e.g. {name}"):
        DepthUNet.from_pretrained(saved)


def longer_header(content: bytes, old: bytes, new: bytes) -> bytes:
    """The file with one change in its header, which it states the length of."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].replace(old, new, 1)
    return len(header).to_bytes(8, "little") + header + content[end:]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"more",
        lambda content: bytes(8) + content[8:],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: b"PK\x03\x04" + content,
        lambda content: content[:8] + b"[" * (len(content) - 8),
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: longer_header(content, b'"F32"', b'"' + b"x" * 5000 + b'"'),
        lambda content: content.replace(b'"shape":[', b'"shape":[9', 1),
        lambda content: content.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1),
    ],
)
def test_weights_that_are_damaged(saved: Path, change) -> None:
    (saved / WEIGHTS_FILE).write_bytes(change((saved / WEIGHTS_FILE).read_bytes()))
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or not whole") as refused:
        DepthUNet.from_pretrained(saved)
    assert len(str(refused.value).replace(str(saved), "")) < 400 and "\n" not in str(refused.value)


def test_missing_and_unknown_weights(saved: Path) -> None:
    change_weights(
        saved, lambda tensors: {k: v for k, v in tensors.items() if k != "bins.weight"} | {"x": torch.ones(1)}
    )
    with pytest.raises(ValueError, match=r"1 missing \(e.g. bins.weight\), 1 unknown \(e.g. x\)"):
        DepthUNet.from_pretrained(saved)


@pytest.mark.parametrize("revision", ["main", "v1", ""])
def test_a_folder_has_no_revision(saved: Path, revision: str) -> None:
    for load in (DepthUNet.from_pretrained, open_model):
        with pytest.raises(ValueError, match=f"is a folder, which has no revision {revision!r}"):
            load(saved, revision=revision)


AUDITED = """
import json, sys
from pathlib import Path
from depth_unet import DepthUNet, DepthUNetConfig
asked = []
def audit(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        asked.append((event, arguments))
        raise OSError(f"{event} {arguments}")
sys.addaudithook(audit)
folder = Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
for encoder in json.loads(sys.argv[2]):
    (folder / "config.json").write_text(json.dumps(config | {"encoder": encoder}))
    for local in (True, False):
        try:
            DepthUNet.from_pretrained(folder, local_files_only=local)
            print("loaded", encoder)
        except ValueError:
            pass
print("asked", asked)
"""


def test_no_config_makes_a_request(saved: Path) -> None:
    """With a token at hand and the hub allowed, as on a user's machine."""
    encoders = ["mobilenet_v2", "resnet18", "tu-resnet18", "tu-resnet18.a1_in1k", "timm-efficientnet-b0", "mit_b0"]
    encoders += [
        "tu-hf-hub:owner/name",
        "tu-hf_hub:owner/name",
        "hf-hub:owner/name",
        "tu-local-dir:/x",
        "tu-timm/resnet18",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(saved), json.dumps(encoders)],
        env=environment | {"HF_TOKEN": "hf_secret"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["loaded mobilenet_v2"] * 2 + ["asked []"]


def test_the_default_config_fits_what_it_describes() -> None:
    """Every bound leaves room for real networks."""
    DepthUNetConfig.for_encoder("resnet34", input_size=[1536, 2048], decoder_channels=[1024, 512, 256, 128, 64])
    DepthUNetConfig(depth_bins=256, max_depth=1000.0, min_depth=0.01)
