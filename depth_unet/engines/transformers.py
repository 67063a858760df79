"""`TransformersDepth`: run a depth model of transformers, with the same `predict` and `predict_batch`.

Needs `pip install "depth_unet[transformers]"`.
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from depth_unet.camera import DEFAULT_FOCAL, Camera
from depth_unet.files import sha256_of
from depth_unet.hub import ModelFiles, find_files, front_matter, licence_in
from depth_unet.images import ImageSource, Photo, read_photo, shrunk
from depth_unet.metrics import ALIGNMENTS
from depth_unet.model import CONFIG_FILE, WEIGHTS_FILE
from depth_unet.prediction import IMAGE_LONGEST, Prediction
from depth_unet.predictor import Predictor
from depth_unet.reading import LARGEST_TEXT, parse_json, read_bytes

PROCESSOR_FILE = "preprocessor_config.json"
INDEX_FILE = f"{WEIGHTS_FILE}.index.json"  # of weights in several files

# Focal length of the one camera of a data set, as a fraction of the longer side of its pictures.
FOCAL_OF_DATA = {
    "nyu": DEFAULT_FOCAL,  # Kinect, 518.86 / 640: toolbox of NYU Depth V2 (Silberman et al. 2012)
    "kitti": 721.5377 / 1242,  # P_rect_02 of its calibration files (Geiger et al. 2013)
    "hypersim": 886.81 / 1024,  # fov_x = pi / 3 in _vray_user_params.py of apple/ml-hypersim (Roberts et al. 2021)
    "vkitti": 725.0087 / 1242,  # intrinsic.txt of Virtual KITTI 2 (Cabon et al. 2020)
}
# The one data set that metres were learned from, each with the text that states it. Left out: zoedepth-nyu-kitti (two
# cameras), and models for which no text names one data set.
TRAINED_ON = {
    # README of vinvino02/GLPDepth: checkpoints for NYU Depth V2 and for KITTI; card of glpn-nyu: "trained on NYUv2".
    "glpn-nyu": "nyu",
    "glpn-kitti": "kitti",
    # convert_zoedepth_to_hf.py of transformers makes them from ZoeD_N and ZoeD_K, the models with a single metric head
    # of isl-org/ZoeDepth: hubconf.py (ZoeD_N: NYU-Depth-V2) and config_zoedepth_kitti.json (ZoeD_M12_K).
    "zoedepth-nyu": "nyu",
    "zoedepth-kitti": "kitti",
    # Heads on frozen features: README of facebookresearch/dinov2, "Pretrained heads - Depth estimation", columns NYUd
    # and KITTI; convert_dinov2_depth_to_hf.py of transformers takes the file of each name from there.
    **{f"dpt-dinov2-{size}-{data}": data for size in ("small", "base", "large", "giant") for data in ("nyu", "kitti")},
    # metric_depth/README of DepthAnything/Depth-Anything-V2: indoor models Hypersim, outdoor models Virtual KITTI 2.
    **{f"depth-anything-v2-metric-indoor-{size}-hf": "hypersim" for size in ("small", "base", "large")},
    **{f"depth-anything-v2-metric-outdoor-{size}-hf": "vkitti" for size in ("small", "base", "large")},
}
# These weights are in no checkpoint, because the first fusion stage has no second input.
_UNUSED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")


class Kind(NamedTuple):
    """What the numbers of a model mean.

    Args:
        is_metric: metres; else disparity up to scale and shift.
        focal: focal length of the training camera as a fraction of a picture's longer side; None: not known.
    """

    is_metric: bool
    focal: float | None


class TransformersDepth(Predictor):
    """A depth model of transformers.

    The metres of a model that was trained with one known camera (`FOCAL_OF_DATA`) are scaled by the ratio of the
    photo's focal length to that camera's. A photo without a lens is assumed to have the training camera's field of
    view, so that the metres are those of transformers' own pipeline. Depth Pro estimates the lens itself. All other
    metres are left as they are, and `Prediction.metres_follow_lens` is False.

    Args:
        model: of `AutoModelForDepthEstimation`.
        processor: its image processor.
        name: of the model.
        trained_on: the data sets that its metres were learned from, of `FOCAL_OF_DATA`.
    """

    def __init__(self, model: Any, processor: Any, name: str, trained_on: Sequence[str] = ()) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name
        self.kind = kind_of(model.config, tuple(trained_on))
        self.alignments = ALIGNMENTS if self.kind.is_metric else ("scale_shift_disparity",)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "TransformersDepth":
        """Load a model from safetensors, without code from the repository; see `DepthUNet.from_pretrained`.

        Raises:
            FileNotFoundError: no such folder, repository, revision or file.
            ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
            ValueError: not a depth model of transformers, or damaged.
            ImportError: transformers is not installed, or does not know this model.
        """
        try:
            import transformers
        except ImportError as error:
            message = f'{model} needs transformers: pip install "depth_unet[transformers]"'
            raise ImportError(message) from error
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        options["force_download"] = force_download
        found = _find(model, revision, subfolder, options)
        try:
            with _quiet(transformers):
                config = transformers.AutoConfig.from_pretrained(found.folder, trust_remote_code=False)
                if type(config) not in transformers.MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
                    raise ValueError(f"a {config.model_type} model predicts no depth")
                network, report = transformers.AutoModelForDepthEstimation.from_pretrained(
                    found.folder,
                    config=config,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                    dtype=dtype,
                    output_loading_info=True,
                )
                processor = transformers.AutoImageProcessor.from_pretrained(
                    found.folder, trust_remote_code=False, local_files_only=True
                )
        except Exception as error:  # transformers raises errors of any class for damaged files
            if isinstance(error, ImportError):
                raise
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"{found.name} cannot be loaded as a depth model of transformers: {reason}") from error
        missing = [key for key in report["missing_keys"] if not _UNUSED.search(key)]
        if missing or report["mismatched_keys"]:
            wrong = sorted(missing) or sorted(str(each[0]) for each in report["mismatched_keys"])
            what = "missing" if missing else "of another shape"
            raise ValueError(f"{found.name}: its weights do not fit: {len(wrong)} tensors {what}, e.g. {wrong[0]}")
        if not hasattr(processor, "post_process_depth_estimation"):
            raise ValueError(f"{found.name}: its image processor {type(processor).__name__} is not for depth models")
        front = front_matter(found, **options)
        loaded = cls(network.to(device), processor, found.name, _trained_on(found.name, front))
        loaded.revision, loaded.licence = found.commit, licence_in(front)
        weights = found.folder / WEIGHTS_FILE
        loaded.sha256 = sha256_of(weights if weights.is_file() else found.folder / INDEX_FILE)
        return loaded

    def predict_batch(
        self,
        images: Sequence[ImageSource],
        cameras: Sequence[Camera | None] | None = None,
        batch_size: int = 8,
    ) -> list[Prediction]:
        """See `Predictor.predict_batch`.

        Raises:
            ValueError: the model predicts relative depth; or as `Predictor.predict_batch`.
        """
        self.check_metric()
        return self.predict_scored(images, cameras, batch_size)

    def predict_scored(
        self, images: Sequence[ImageSource], cameras: Sequence[Camera | None] | None, batch_size: int = 8
    ) -> list[Prediction]:
        """See `Predictor.predict_scored`; the depth of a relative model is the reciprocal of its disparity."""
        # A ZoeDepth of several heads chooses one of them for the whole batch.
        if len(getattr(self.model.config, "bin_configurations", None) or ()) > 1:
            batch_size = min(batch_size, 1)
        return self._in_chunks(images, cameras, batch_size)

    @torch.inference_mode()
    def _predict_chunk(self, images: Sequence[ImageSource], cameras: Sequence[Camera | None]) -> list[Prediction]:
        photos = [read_photo(image) for image in images]
        known = [self._known_camera(photo, camera) for photo, camera in zip(photos, cameras, strict=True)]
        inputs = [self.processor(images=photo.image, return_tensors="pt")["pixel_values"] for photo in photos]
        by_size: dict[torch.Size, list[int]] = {}
        for index, pixels in enumerate(inputs):
            by_size.setdefault(pixels.shape, []).append(index)
        predictions: list[Prediction | None] = [None] * len(photos)
        for indices in by_size.values():
            pixels = torch.cat([inputs[index] for index in indices]).to(self.model.device, self.model.dtype)
            outputs = self.model(pixel_values=pixels)
            for field, value in outputs.items():
                if isinstance(value, torch.Tensor):
                    outputs[field] = value.float()  # half precision is for the network alone
            sizes = [(photos[index].height, photos[index].width) for index in indices]
            # The second argument is named source_sizes by ZoeDepth, and target_sizes by all others.
            results = self.processor.post_process_depth_estimation(outputs, sizes)
            for index, result in zip(indices, results, strict=True):
                predictions[index] = self._prediction(photos[index], known[index], result)
        return predictions

    def _prediction(self, photo: Photo, known: tuple[Camera, str] | None, result: dict[str, Any]) -> Prediction:
        """The prediction of one photo, with the lens that its metres belong to replaced by the known one."""
        depth = result["predicted_depth"].cpu().numpy().astype(np.float32)
        if not self.kind.is_metric:
            depth = 1 / np.maximum(depth, np.float32(1e-6))
        own, own_from, follows = self._own_camera(photo, result)
        camera, camera_from = known or (own, own_from)
        made = Prediction(
            depth,
            own,
            name=photo.name,
            model=self.name,
            revision=self.revision,
            camera_from=own_from,
            image=shrunk(photo.image, IMAGE_LONGEST),
            licence=self.licence,
            metres_follow_lens=follows,
        )
        return made if known is None else replace(made.with_camera(camera), camera_from=camera_from)

    def _own_camera(self, photo: Photo, result: dict[str, Any]) -> tuple[Camera, str, bool]:
        """The camera for which the model predicts metres, where it is from, and whether it is known."""
        width, height = photo.width, photo.height
        if self.model.config.model_type == "depth_pro":
            fov = result.get("field_of_view")
            if fov is None:  # the reciprocal of its canonical inverse depth: of a focal length of the width
                return Camera.assumed(width, height, width / max(width, height)), "assumed", True
            if 0 < float(fov) < 180:
                return Camera.from_fov(width, height, float(fov)), "model", True
            return Camera.assumed(width, height), "assumed", False
        if self.kind.focal is None:
            return Camera.assumed(width, height), "assumed", False
        return Camera.assumed(width, height, self.kind.focal), "assumed", True


def kind_of(config: Any, trained_on: tuple[str, ...]) -> Kind:
    """What the numbers of a model mean, from its configuration and the data that its metres were learned from."""
    focal = FOCAL_OF_DATA[trained_on[0]] if len(trained_on) == 1 else None
    if config.model_type in ("zoedepth", "glpn", "depth_pro"):  # their heads end in metres
        return Kind(True, focal)
    stated = getattr(config, "depth_estimation_type", None)  # of Depth Anything
    # The architecture of DPT is the same for metres and disparity.
    is_metric = stated == "metric" or (config.model_type == "dpt" and stated is None and bool(trained_on))
    return Kind(is_metric, focal if is_metric else None)


def _trained_on(name: str, front: dict[str, Any]) -> tuple[str, ...]:
    """The data sets behind a model's metres: of `TRAINED_ON`, else as its card lists them."""
    known = TRAINED_ON.get(name.split("/")[-1].lower())
    if known:
        return (known,)
    listed = front.get("datasets")
    texts = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    spelled = (re.sub(r"virtual[ _-]?kitti", "vkitti", str(text).lower()) for text in texts)
    words = [set(re.split(r"[^a-z0-9]+", text)) for text in spelled]
    names = {"nyu": {"nyu", "nyuv2"}, "kitti": {"kitti"}, "hypersim": {"hypersim"}, "vkitti": {"vkitti", "vkitti2"}}
    found = [[data for data, spellings in names.items() if spellings & each] for each in words]
    if not all(found):  # other data beside these: not one camera
        return ()
    return tuple(sorted({data for each in found for data in each}))


def _find(model: str | os.PathLike, revision: str | None, subfolder: str, options: dict[str, Any]) -> ModelFiles:
    """Find or download configuration, image processor and weights, which may be in several files."""
    found = find_files(model, (CONFIG_FILE, PROCESSOR_FILE), revision=revision, subfolder=subfolder, **options)
    if found.commit is not None:
        model = "/".join(found.name.split("/")[:2])
    pinned = {"revision": found.commit, "subfolder": subfolder, **options}
    try:
        find_files(model, (WEIGHTS_FILE,), **pinned)
    except FileNotFoundError as error:
        try:
            index = find_files(model, (INDEX_FILE,), **pinned).folder / INDEX_FILE
        except FileNotFoundError:
            raise error from None
        try:
            parts = sorted(set(parse_json(read_bytes(index, LARGEST_TEXT))["weight_map"].values()))
            if not all(re.fullmatch(r"[\w.-]+\.safetensors", part) for part in parts):
                raise ValueError("its weights are in other files than safetensors")
        except (ValueError, KeyError, TypeError, AttributeError) as unusable:
            raise ValueError(f"{found.name}: {INDEX_FILE} cannot be used: {unusable}") from unusable
        find_files(model, tuple(parts), **pinned)
    return found


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """No progress bar, report or warning of transformers while it loads a model; errors are raised."""
    logging = transformers.utils.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
