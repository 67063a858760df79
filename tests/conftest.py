"""Settings and data that all tests share: one thread, no network, tiny real networks."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before any import that reads them: the tests reach nothing but this machine.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hub_client import Hub  # noqa: E402
from PIL import Image  # noqa: E402

from depth_unet import DepthUNet, DepthUNetConfig  # noqa: E402

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, where this machine has them."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data set is not on this machine (../shared/data)")
    return SHARED


@pytest.fixture(scope="session")
def tiny_config() -> DepthUNetConfig:
    """A real network that runs in milliseconds."""
    return DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8, 8, 8, 8, 8], input_size=[64, 96])


@pytest.fixture
def tiny_model(tiny_config: DepthUNetConfig) -> DepthUNet:
    """A new model of `tiny_config`, always the same."""
    torch.manual_seed(0)
    return DepthUNet(tiny_config).eval()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 160x120 with some structure."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    path = tmp_path_factory.mktemp("photo") / "room.jpg"
    coarse.resize((160, 120), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A model hub of its own for each file of tests."""
    running = Hub(tmp_path_factory.mktemp("hub"))
    yield running
    running.stop()
