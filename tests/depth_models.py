"""Tiny depth networks of transformers with random weights, saved as their makers save real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def _dinov2(**options: Any) -> Any:
    from transformers import Dinov2Config

    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2}
    return Dinov2Config(**sizes, **options)


def _depth_anything(kind: str) -> tuple[Any, Any]:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    backbone = _dinov2(
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    processor = DPTImageProcessor(size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14)
    return DepthAnythingForDepthEstimation(config), processor


def _zoedepth(heads: int) -> tuple[Any, Any]:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    backbone = BeitConfig(
        image_size=32,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    names = ("nyu", "kitti")[:heads]
    bins = [{"name": name, "n_bins": 8, "min_depth": 0.001, "max_depth": 10.0} for name in names]
    more = {
        "num_patch_transformer_layers": 4,
        "patch_transformer_hidden_size": 128,  # its classifier expects this size
        "patch_transformer_intermediate_size": 16,
        "patch_transformer_num_attention_heads": 2,
    }
    config = ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        bottleneck_features=8,
        bin_embedding_dim=8,
        num_relative_features=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=bins,
        **(more if heads > 1 else {}),
    )
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 96}, ensure_multiple_of=32)
    return ZoeDepthForDepthEstimation(config), processor


def _dpt() -> tuple[Any, Any]:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        use_auxiliary_head=False,
    )
    return DPTForDepthEstimation(config), DPTImageProcessor(size={"height": 64, "width": 64})


def _glpn() -> tuple[Any, Any]:
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    config = GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
        max_depth=10,
    )
    return GLPNForDepthEstimation(config), GLPNImageProcessor()


def _depth_pro(use_fov_model: bool) -> tuple[Any, Any]:
    from transformers import DepthProConfig, DepthProForDepthEstimation, DepthProImageProcessor

    part = {"image_size": 32, "patch_size": 8}
    config = DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[2, 1],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.5, 0.25],
        scaled_images_feature_dims=[8, 8],
        use_fov_model=use_fov_model,
        num_fov_head_layers=1,
        image_model_config=_dinov2(**part),
        patch_model_config=_dinov2(**part),
        fov_model_config=_dinov2(**part),
    )
    model = DepthProForDepthEstimation(config)
    if use_fov_model:  # random weights estimate about 0 degrees
        last = [module for module in model.fov_model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        torch.nn.init.constant_(last.bias, 50.0)
    return model, DepthProImageProcessor(size={"height": 64, "width": 64})


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "depth_anything_metric": lambda: _depth_anything("metric"),
    "depth_anything": lambda: _depth_anything("relative"),
    "zoedepth": lambda: _zoedepth(1),
    "zoedepth_two_heads": lambda: _zoedepth(2),
    "dpt": _dpt,
    "glpn": _glpn,
    "depth_pro": lambda: _depth_pro(True),
    "depth_pro_without_lens": lambda: _depth_pro(False),
}


def save_model(kind: str, folder: Path) -> Path:
    """Save a tiny model of `MODELS`, always the same."""
    torch.manual_seed(0)
    model, processor = MODELS[kind]()
    with torch.no_grad():  # initial weights give nearly the same depth everywhere
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "fov_model" not in name:
                parameter.normal_(0, (parameter[0].numel()) ** -0.5)
        if kind.startswith(("dpt", "depth_pro")):
            model.head.layers[-2].bias.fill_(1.0) if kind != "dpt" else model.head.head[-2].bias.fill_(1.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
