"""Furniture libraries: which models there are, their true sizes and licences, and what each can be in a room."""

import csv
import re
import zipfile
from collections import defaultdict, namedtuple
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SIZES_FILE, SIDES = "sizes.csv", ("width", "depth", "height")
CATALOGUES = ("PluginFurnitureCatalog.properties", "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties")
FREE = re.compile(r"(?i)cc-?by(?!-?n[cd])|cc-?0|commons.*attribution(?!.*non)|public domain|free art|\bmit\b")
LARGEST, LARGEST_SMALL = 2_600_000, 900_000  # bytes of a mesh file: of furniture, and of things on it
NOT_SMALL = (
    r"switch|plug|socket|rack|light source|railing|cooktop|cooker|hanger|hook|shower|dispenser|hood|sink|basin|stove|"
    r"lavatory|antenna|\bring\b|bill|intercom|cctv|detector|mat$|carpet|emergency|wall|toilet|pencil|marker|knife|fork|"
    r"spoon|ruler|table$|chair|stool|urinal|lock|shelves|furnace|camera$|clothes|curtain|dress$|skirt|trousers|short$|"
    r"jacket"
)


class Library(NamedTuple):
    """A source of models.

    Args:
        name: as its makers call it.
        licence: in their words.
        path: file or folder; None for the built-in primitives.
    """

    name: str
    licence: str
    path: Path | None

    @property
    def free(self) -> bool:
        """Whether renderings may be passed on under any terms, with credits."""
        return bool(FREE.search(self.licence))


class Model(NamedTuple):
    """A piece of furniture that can be placed.

    Args:
        name: what it is, in English.
        category: of its library: "Living room", "Kitchen", ...
        size: width, depth and height in metres.
        library: where it comes from.
        file: its mesh, relative to the library; of primitives the name of a shape.
        creator: to be credited.
        rotation: row-major 3x3 matrix applied to the mesh first, or ().
        role: the part it plays, where the library states one.
    """

    name: str
    category: str
    size: tuple[float, ...]
    library: Library
    file: str
    creator: str = ""
    rotation: tuple[float, ...] = ()
    role: str = ""


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a cell of a table."""
    return tuple(float(number) for number in text.split())


def table(path: Path | str) -> list[dict[str, str]]:
    """The rows of a table, beside this file if it is not an absolute path."""
    with (Path(__file__).parent / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


RANGES = ("least", "most", "usual", "height")
ROLES = {row["role"]: row for row in table("roles.csv")}
Rule = namedtuple("Rule", ROLES["bed"])
RULES = {role: Rule(**row | {key: numbers(row[key]) for key in RANGES}) for role, row in ROLES.items()}
BUILT = {row["role"]: row for row in table("built.csv")}  # the roles of things that `train.render.things` builds
USES = defaultdict(str, {role: row["uses"] for role, row in (ROLES | BUILT).items()})


def fits(model: Model, rule: Rule) -> bool:
    """Whether a model can play a role.

    Args:
        model: of a library.
        rule: row of roles.csv. role: the part played. name, category: patterns for those of a model; an empty name is
            any but those of `NOT_SMALL`. least, most: smallest and largest size. usual: size of the primitive. shape:
            of the primitive, one of parts.csv. height: range of the height of its base, where that is not the floor.
            uses: what layout and cameras use it for, in words.
    """
    within = all(low <= side <= high for low, side, high in zip(rule.least, model.size, rule.most, strict=True))
    if not within or not re.fullmatch(rule.category, model.category):
        return False
    return bool(re.search(rule.name or NOT_SMALL, model.name, re.IGNORECASE)) is bool(rule.name)


def _read_archive(path: Path) -> list[Model]:
    """Models of a .sh3f library or of Sweet Home 3D's own jar."""
    try:
        with zipfile.ZipFile(path) as archive:
            bytes_of = {info.filename: info.file_size for info in archive.infolist()}
            entry = next((name for name in CATALOGUES if name in bytes_of), None)
            if entry is None:
                raise ValueError(f"{path} holds no furniture catalogue ({CATALOGUES[0]})")
            text = re.sub(r"\\\r?\n\s*", "", archive.read(entry).decode("latin-1"))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a .sh3f library (a zip archive): {error}") from error
    about = dict(re.findall(r"(?m)^(\w+)\s*=\s*(.*?)\s*$", text))
    library = Library(about.get("name", path.stem), about.get("license", "none stated"), path)
    rows: dict[str, dict[str, str]] = defaultdict(lambda: defaultdict(str))
    for key, number, value in re.findall(r"(?m)^\s*(\w+)#(\d+)\s*[=:]\s*(.*?)\s*$", text):
        rows[number][key] = value
    models = []
    for row in rows.values():
        file, size = row["model"].lstrip("/"), tuple(float(row[side] or 0) / 100 for side in SIDES)
        largest = LARGEST_SMALL if max(size) < 0.48 else LARGEST
        if row["name"] and file.endswith(".obj") and bytes_of.get(file, largest) < largest:
            rotation = numbers(row["modelRotation"])
            models.append(Model(row["name"], row["category"], size, library, file, row["creator"], rotation))
    return models


def _read_folder(path: Path) -> list[Model]:
    """Models of a folder of OBJ or GLB files with sizes.csv."""
    listed = path / SIZES_FILE
    if not listed.is_file():
        raise FileNotFoundError(f"{path} has no {SIZES_FILE} with the columns file, name, width, depth, height (m)")
    rows = [defaultdict(str, row) for row in table(listed.absolute())]
    licences = sorted({row["licence"] or "none stated" for row in rows})
    library, models = Library(path.name, "; ".join(licences), path), []
    for line, row in enumerate(rows, 2):
        try:
            size = tuple(float(row[side]) for side in SIDES)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{listed}, line {line}: file, name, width, depth and height (m) are needed") from error
        if min(size) <= 0 or not (path / row["file"]).is_file() or row["role"] not in ("", *RULES):
            raise ValueError(f"{listed}, line {line}: no such file, a size of 0, or an unknown role {row['role']!r}")
        about = row["name"], row["category"], size, library, row["file"], row["creator"]
        models.append(Model(*about, role=row["role"]))
    return models


def read_libraries(paths: Iterable[Path]) -> list[Model]:
    """Read the catalogues of furniture libraries.

    Args:
        paths: .sh3f files, the jar of Sweet Home 3D, folders of meshes with sizes.csv, or folders of such files.

    Raises:
        FileNotFoundError: no such path, or a folder without library.
        ValueError: not a library.
    """
    models = []
    for path in paths:
        inside = sorted([*path.rglob("*.sh3f"), *path.rglob("sweethome3d.jar")])
        if path.is_file():
            models += _read_archive(path)
        elif inside and not (path / SIZES_FILE).is_file():
            models += read_libraries(inside)
        elif path.is_dir():
            models += _read_folder(path)
        else:
            raise FileNotFoundError(f"there is no furniture library {path}")
    return models


def primitives() -> list[Model]:
    """Boxes and simple shapes for every role, for tests and for rooms without a furniture library."""
    library = Library("primitives", "public domain", None)
    return [Model(rule.role, "", rule.usual, library, rule.shape, role=rule.role) for rule in RULES.values()]


def by_role(models: Iterable[Model]) -> dict[str, list[Model]]:
    """The models that can play each role; a role without model is filled by primitives.

    Example:
        >>> sorted(model.file for model in by_role([])["bed"])
        ['bed']
    """
    roles: dict[str, dict[tuple, Model]] = defaultdict(dict)  # a model that several libraries hold counts once
    for model in models:
        for role in [model.role] if model.role else [rule.role for rule in RULES.values() if fits(model, rule)]:
            roles[role][model[:3]] = model
    return {model.role: [*roles[model.role].values()] or [model] for model in primitives()}
