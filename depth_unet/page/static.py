"""`python -m depth_unet.page.static --output SITE`: the page as files that any web host serves; the browser computes.

Needs `pip install "depth_unet[onnx]"` and npm, or the two archives that npm would download.
"""

import argparse
import base64
import hashlib
import html
import json
import os
import shutil
import string
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from depth_unet import images, metadata, predictor
from depth_unet.camera import FULL_FRAME_DIAGONAL_MM
from depth_unet.engines import open_chosen
from depth_unet.engines.onnx import OnnxDepthUNet, import_extra
from depth_unet.engines.onnx_export import export, store_in_half
from depth_unet.engines.onnx_simplify import simplify
from depth_unet.files import write_atomically
from depth_unet.hub import BUILT_IN, find_files, front_matter
from depth_unet.model import CONFIG_FILE, DEFAULT_MODEL, DepthUNet
from depth_unet.page.look import SHOWN_LONGEST

TITLE = "Depth from one photo"
PAGE = Path(__file__).parent
OWN = ("viewer.js", "scene.js", "viewer.css", "icon.svg")  # the same files as of the page with a server
MODELS = [name for name in (DEFAULT_MODEL, BUILT_IN["nano"]) if Path(name).is_dir()]
LARGEST_SITE = 40_000_000  # bytes
LATER = (".wasm", ".onnx", ".md", "sw.js")  # what browsers keep when it is used
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
WASM = "runtime/ort-wasm.wasm"
VERSIONS = {"onnxruntime-web": "1.30.0", "exifr": "7.1.3"}  # of the packages of npm
SHA512 = {  # of their archives: npm's "integrity"
    "onnxruntime-web": "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    "exifr": "g/aje2noHivrRSLbAUtBPWFbxKdKhgj/xr1vATDdUXPOFYJlQ62Ft0oy+72V6XLIpDJfHs6gXLbBLAolqOXYRw==",
}
FILES = {  # by their names in the site, where all scripts end with .js: every host knows its type
    "runtime/ort.js": ("onnxruntime-web", "dist/ort.{build}.min.js"),
    "runtime/ort-wasm.js": ("onnxruntime-web", "dist/ort-wasm-simd-threaded{kind}.mjs"),
    WASM: ("onnxruntime-web", "dist/ort-wasm-simd-threaded{kind}.wasm"),
    "runtime/exifr.js": ("exifr", "dist/full.umd.js"),
    "runtime/exifr_licence.txt": ("exifr", "LICENSE"),
}
NPM_PACK = ["pack", *(f"{package}@{version}" for package, version in VERSIONS.items())]


def write_site(
    output: str | os.PathLike,
    models: list[str] = MODELS,
    title: str = TITLE,
    runtime: str | os.PathLike | None = None,
    webgpu: bool = False,
    space: bool = False,
) -> int:
    """Write the folder of a page that needs no server: models run in the visitor's browser.

    Args:
        output: folder; files of an earlier site in it are replaced, others stay.
        models: DepthUNets as for `open_model`; the first one is chosen when the page opens.
        title: of the page.
        runtime: folder with the archives that `npm pack` writes; by default npm downloads them.
        webgpu: use the larger runtime, which also computes on graphics processors (experimental).
        space: also write the README.md of a static Hugging Face Space.

    Returns:
        Size of the site in bytes.

    Raises:
        FileNotFoundError, ConnectionError: no such model or archive.
        ValueError: another kind of model, npm fails, an archive is not the expected one, or the site is too large.
        ImportError, OSError: onnx or onnxruntime is not installed, or the folder cannot be written.
    """
    files = _runtime_files(runtime, webgpu)
    chosen = [_model(name) for name in dict.fromkeys(models)]
    settings = {
        "models": [about for about, _ in chosen],
        "runtime": {"file": WASM, "bytes": len(files[WASM])},
        "webgpu": webgpu,
        "longest": SHOWN_LONGEST,
        "max_pixels": images.MAX_PIXELS,
        "most_elongated": predictor.MOST_ELONGATED,
        "diagonal_mm": FULL_FRAME_DIAGONAL_MM,
        "focal_35mm": metadata.FOCAL_35MM_RANGE,
        "units_mm": metadata.UNITS_MM,
    }
    files |= {about["file"]: content for about, content in chosen}
    own = [*(PAGE / name for name in OWN), *sorted((PAGE / "static").iterdir())]
    files |= {path.name: path.read_bytes() for path in own if space or path.suffix != ".md"}
    settings["version"] = hashlib.sha256(b"".join([repr((settings, title)).encode(), *files.values()])).hexdigest()[:16]
    values = {
        "version": settings["version"],
        "html_title": html.escape(title),
        "json_title": json.dumps(title),
        "policy": POLICY,
        "site": json.dumps(settings).replace("<", "\\u003c"),  # a name must not end the element
        "licences": "".join(f"- weights of {about['name']}: {about['licence']}\n" for about, _ in chosen),
        "first": json.dumps(["./", *(name for name in files if not name.endswith(LATER))]),
    }
    for name in files.keys() & {"index.html", "licences.txt", "site.webmanifest", "README.md", "sw.js"}:
        files[name] = string.Template(files[name].decode()).substitute(values).encode()
    size = sum(map(len, files.values()))
    if size > LARGEST_SITE:
        raise ValueError(f"the site has {size / 1e6:.1f} MB, more than {LARGEST_SITE / 1e6:.0f}: give fewer models")
    for path, content in ((Path(output, name), content) for name, content in files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    for old in set(Path(output, "models").glob("*.onnx")) - {Path(output, name) for name in files}:
        old.unlink()
    return size


def _model(name: str) -> tuple[dict[str, Any], bytes]:
    """What the page needs to know of a model, and its ONNX file with half-precision weights."""
    model = open_chosen(name, "cpu", "float32")
    if not isinstance(model, DepthUNet | OnnxDepthUNet):
        raise ValueError(f"{name} is not a model of depth_unet: only those run in the browser")
    with tempfile.TemporaryDirectory() as folder:
        path = export(model, Path(folder) / "model.onnx") if isinstance(model, DepthUNet) else model.path
        graph = import_extra("onnx").load(path)
    simplify(graph)
    store_in_half(graph)
    content = graph.SerializeToString()
    about = {"file": f"models/{hashlib.sha256(content).hexdigest()[:12]}.onnx", "bytes": len(content)}
    about["title"] = f"{model.name}, {len(content) / 1e6:.1f} MB{_accuracy(name, model)}"
    about |= {key: getattr(model, key) for key in ("name", "revision", "licence", "enough")}
    return about | model.config.to_dict(), content


def _accuracy(name: str, model: DepthUNet | OnnxDepthUNet) -> str:
    """The error that the model's card states, if it was measured with these weights."""
    card = front_matter(find_files(name, (CONFIG_FILE,))) if isinstance(model, DepthUNet) else {}
    with suppress(KeyError, IndexError, TypeError, StopIteration):  # the card states nothing of the kind
        result = card["model-index"][0]["results"][0]
        error = next(metric["value"] for metric in result["metrics"] if metric["type"] == "abs_rel")
        if card["depth_unet"]["sha256"] == model.sha256:
            return f", AbsRel {error:.3f} on {result['dataset']['name']}"
    return ""


def _runtime_files(folder: str | os.PathLike | None, webgpu: bool) -> dict[str, bytes]:
    variant = {"build": "webgpu", "kind": ".asyncify"} if webgpu else {"build": "wasm", "kind": ""}
    files = {}
    with tempfile.TemporaryDirectory() as downloads:
        if folder is None:
            _download(downloads)
        for package, version in VERSIONS.items():
            path = Path(folder or downloads, f"{package}-{version}.tgz")
            if base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode() != SHA512[package]:
                raise ValueError(f"{path.name} is not the archive of npm's registry: its SHA-512 differs")
            with tarfile.open(path) as archive:
                for made, (owner, name) in FILES.items():
                    if owner == package:
                        files[made] = archive.extractfile(f"package/{name.format(**variant)}").read()
    return files


def _download(folder: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm is not installed: run `npm {' '.join(NPM_PACK)}` elsewhere; give --runtime its folder")
    run = subprocess.run([npm, *NPM_PACK, "--silent", "--pack-destination", folder], capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"npm cannot download the runtime: {' '.join(run.stderr.split())[-300:]}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    parser = argparse.ArgumentParser("python -m depth_unet.page.static", description="Write a page without a server.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    models = "folder, owner/name on a hub, or .onnx file; may be repeated  (default: the models of this package)"
    parser.add_argument("--model", action="append", help=models)
    parser.add_argument("--title", default=TITLE, help="of the page  (default: %(default)s)")
    parser.add_argument("--runtime", type=Path, metavar="DIR", help=f"folder where `npm {' '.join(NPM_PACK)}` was run")
    parser.add_argument("--webgpu", action="store_true", help="experimental: compute on graphics processors, too")
    parser.add_argument("--space", action="store_true", help="also write the README.md of a static Hugging Face Space")
    given = vars(parser.parse_args(arguments))
    try:
        size = write_site(models=given.pop("model") or MODELS, **given)
        folder = given["output"]
        print(f"{folder}: {size / 1e6:.1f} MB; try it with `python -m http.server --directory {folder}`")
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
