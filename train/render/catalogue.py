"""Furniture libraries: which models there are, their true sizes and licences, and what each can be in a room."""

import csv
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SIZES_FILE = "sizes.csv"
CATALOGUES = ("PluginFurnitureCatalog.properties", "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties")
FREE = re.compile(
    r"(?i)cc-?by(?!-?n[cd])|cc-?0|creative commons.*attribution(?!.*non)|public domain|free art|\bmit\b|none needed"
)
LARGEST, LARGEST_SMALL = 2_600_000, 900_000  # bytes of a mesh file: of furniture, and of things on it


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
    size: tuple[float, float, float]
    library: Library
    file: str
    creator: str = ""
    rotation: tuple[float, ...] = ()
    role: str = ""


class Rule(NamedTuple):
    """Which models can play a role: a pattern for the name, categories, and ranges in metres."""

    pattern: str
    categories: str
    width: tuple[float, float] = (0, 9)
    depth: tuple[float, float] = (0, 9)
    height: tuple[float, float] = (0, 9)


LETTERS = {
    "Living room": "L", "Office": "O", "Bedroom": "B", "Kitchen": "K", "Bathroom": "A", "Miscellaneous": "M",
    "Exterior": "E", "Lights": "I", "Vehicles": "V",
}  # fmt: skip
RULES = {
    "bed": Rule(r"\bbed\b|futon$|day bed", "B", (0.85, 2.3), (1.6, 2.4), (0.15, 1.2)),
    "bunk": Rule(r"bunk|loft|mezzanine", "B", height=(1.4, 2.0)),
    "crib": Rule(r"crib|baby bed|changing|doll house", "B"),
    "bedside": Rule(r"bedside", "B"),
    "wardrobe": Rule(r"wardrobe|cupboard|^shelves", "B", height=(1.4, 2.4)),
    "chest": Rule(r"dresser|^chest$|television cabinet|dressing table", "LB", height=(0.6, 1.7)),
    "sofa": Rule(r"sofa|couch", "LE", (1.2, 3.0), (0.5, 1.15), (0.5, 1.2)),
    "corner sofa": Rule(r"corner sofa|couch", "L", (2.0, 3.0), (1.3, 2.0)),
    "armchair": Rule(r"armchair|puff|ottoman", "LE", (0.5, 1.15), (0.5, 1.1)),
    "coffee table": Rule(r"coffee table|^table$|rattan table", "LE", (0.5, 1.5), (0.3, 1.0), (0.3, 0.6)),
    "table": Rule(r"table(?! tennis)", "LO", (0.95, 2.4), (0.6, 1.4), (0.68, 0.82)),
    "small table": Rule(r"table", "LE", (0.55, 0.95), (0.45, 0.95), (0.55, 0.8)),
    "chair": Rule(r"chair", "LE", (0.38, 0.62), (0.38, 0.66), (0.72, 1.2)),
    "stool": Rule(r"stool|bar chair", "KL", height=(0.6, 1.1)),
    "office chair": Rule(r"chair|class seat", "O", (0.4, 0.7), (0.4, 0.72)),
    "desk": Rule(r"desk|table", "OL", (1.0, 1.95), (0.5, 1.0), (0.68, 0.8)),
    "tv stand": Rule(r"tv (unit|stand)|dresser|^box$", "L", (0.9, 1.8), (0.3, 0.6), (0.3, 1.1)),
    "tv": Rule(r"\btv\b(?! (unit|stand|remote))", "L", (0.5, 1.3), height=(0.4, 0.85)),
    "bookcase": Rule(r"bookcase|shelves|glass door cabinet", "L", (0.4, 1.8), (0.2, 0.5), (0.7, 2.25)),
    "piano": Rule(r"upright piano|^piano$", "L"),
    "fireplace": Rule(r"fireplace", "L", depth=(0.2, 0.5), height=(0.9, 2.2)),
    "floor lamp": Rule(r"lamp|uplight", "I", (0.2, 0.7), (0.2, 0.7), (1.2, 1.9)),
    "table lamp": Rule(r"^(desk |little |vase )?lamp|lamp$|candle|lantern", "I", (0.1, 0.56), height=(0.28, 0.82)),
    "ceiling lamp": Rule(r"hanging|pendant|ceiling fan|ceiling lamp|track", "IM", height=(0.04, 0.9)),
    "plant": Rule(r"plant|ficus|yucca|spath|bush|christmas", "L", (0.1, 1.15), (0.1, 1.15), (0.6, 2.0)),
    "small plant": Rule(r"plant|cactus|orchid|tulip|flower|bonsai|vase|lily", "LM", (0.1, 0.5), height=(0.08, 0.58)),
    "base cabinet": Rule(r"lower cabinet|drawers cabinet|kitchen cabinet", "K", (0.42, 1.0), (0.55, 0.7), (0.8, 0.95)),
    "cooker": Rule(r"^cooker$|stove$|dishwasher|washing machine", "K", (0.5, 1.1), height=(0.8, 0.95)),
    "sink": Rule(r"sink", "K", (0.5, 1.25), (0.55, 0.7)),
    "wall cabinet": Rule(r"upper (shelves )?cabinet|glass door|range hood", "K", (0.3, 1.2), (0.28, 0.45), (0.4, 0.9)),
    "fridge": Rule(r"fridge|refrigerator|high cabinet", "K", height=(1.2, 2.2)),
    "island": Rule(r"island", "K"),
    "washer": Rule(r"washing machine|dryer|clothes washer|chest freezer|clothes basket", "KA"),
    "toilet": Rule(r"toilets? unit|bidet", "A", height=(0.5, 0.9)),
    "basin": Rule(r"vanity|washbasin", "A", (0.4, 1.3), height=(0.8, 1.3)),
    "bath": Rule(r"bath$|bathtub", "A", (1.4, 2.0), (0.6, 1.0), (0.5, 0.85)),
    "shower": Rule(r"shower stall|^shower$", "A"),
    "towel rail": Rule(r"towel (rack|$)|^towel$", "A", depth=(0.05, 0.2), height=(0.1, 0.7)),
    "filing": Rule(r"filing|safe|locker|bookcase$", "OM", (0.2, 0.6), height=(0.4, 1.4)),
    "office cabinet": Rule(r"bookcase|^box$", "O"),
    "cooler": Rule(r"water cooler", "O"),
    "computer": Rule(r"laptop|imac|ibook", "OL"),
    "radiator": Rule(r"radiator", "MA", (0.3, 2.0), (0.05, 0.3), (0.4, 1.2)),
    "wall unit": Rule(r"conditioning - int|water heater|dart|cuckoo", "M", depth=(0.03, 0.5), height=(0.15, 1)),
    "cellar": Rule(r"ladder|clothes horse|wood logs|crate|barrel|workbench|furnace|mower", "M", height=(0.2, 2)),
    "gym": Rule(r"indoor bike|treadmill|abdominal|punching|football table|flipper|table tennis$", "M"),
    "bike": Rule(r"bike|bicycle|stroller|scooter|tricycle", "V", (0.1, 0.6), (0.3, 1.6), (0.3, 1.2)),
    "floor thing": Rule(
        r"box|suitcase|backpack|dustbin|trash|basket|briefcase|sneaker|shoes|slippers|ball$|guitar|speaker|fan$|crate|"
        r"trunck|recycling|teddy|handbag|rocking|puff|child chair|helmet|mini stereo|vase|radio$|potty",
        "MBAOLK", (0.08, 1.0), (0.08, 0.7), (0.05, 0.9)),
}  # fmt: skip
SMALL = {"K": "kitchen thing", "A": "bath thing", "O": "office thing", "L": "thing", "B": "thing", "M": "thing"}
NOT_SMALL = re.compile(
    r"(?i)switch|plug|socket|rack|light source|railing|cooktop|cooker|hanger|hook|shower|dispenser|hood|sink|basin|"
    r"stove|lavatory|antenna|\bring\b|bill|intercom|cctv|detector|mat$|carpet|emergency|wall|toilet|pencil|marker|knife|fork|spoon|"
    r"ruler|table$|chair|stool|urinal|lock|shelves|furnace|camera$|clothes|curtain|dress$|skirt|trousers|short$|jacket"
)


def _libraries_catalogue(path: Path) -> list[Model]:
    """Models of a .sh3f library or of Sweet Home 3D's own jar."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename: info.file_size for info in archive.infolist()}
            entry = next((name for name in CATALOGUES if name in names), None)
            if entry is None:
                raise ValueError(f"{path} holds no furniture catalogue ({CATALOGUES[0]})")
            text = re.sub(r"\\\r?\n\s*", "", archive.read(entry).decode("latin-1"))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a .sh3f library (a zip archive): {error}") from error
    about = dict(re.findall(r"(?m)^(\w+)\s*=\s*(.*?)\s*$", text))
    library = Library(about.get("name", path.stem), about.get("license", "none stated"), path)
    table: dict[int, dict[str, str]] = defaultdict(dict)
    for key, number, value in re.findall(r"(?m)^\s*(\w+)#(\d+)\s*[=:]\s*(.*?)\s*$", text):
        table[int(number)][key] = value
    models = []
    for row in table.values():
        file = row.get("model", "").lstrip("/")
        small = all(float(row.get(key, 0)) < 48 for key in ("width", "depth", "height"))
        large = names.get(file, LARGEST) >= (LARGEST_SMALL if small else LARGEST)
        if large or not file.endswith(".obj") or "name" not in row:
            continue
        size = tuple(float(row[key]) / 100 for key in ("width", "depth", "height"))
        rotation = tuple(float(v) for v in row.get("modelRotation", "").split())
        about = row["name"], row.get("category", "")
        models.append(Model(*about, size, library, file, row.get("creator", ""), rotation))
    return models


def _folders_catalogue(path: Path) -> list[Model]:
    """Models of a folder of OBJ or GLB files with sizes.csv."""
    table = path / SIZES_FILE
    if not table.is_file():
        raise FileNotFoundError(
            f"{path} has no {SIZES_FILE}; it needs the columns file, name, width, depth, height (m), and may have "
            "role, category, creator, licence"
        )
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    licences = sorted({row.get("licence") or "none stated" for row in rows})
    library = Library(path.name, "; ".join(licences), path)
    models = []
    for line, row in enumerate(rows, 2):
        try:
            size = tuple(float(row[key]) for key in ("width", "depth", "height"))
            mesh, name = path / row["file"], row["name"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{table}, line {line}: file, name, width, depth and height (m) are needed") from error
        role = row.get("role") or ""
        if min(size) <= 0 or not mesh.is_file() or role not in ("", *RULES, *SMALL.values()):
            raise ValueError(f"{table}, line {line}: no such file, a size of 0, or an unknown role {role!r}")
        category, creator = row.get("category") or "", row.get("creator") or ""
        models.append(Model(name, category, size, library, row["file"], creator, (), role))
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
        if path.is_file():
            models += _libraries_catalogue(path)
        elif (path / SIZES_FILE).is_file():
            models += _folders_catalogue(path)
        elif found := sorted([*path.rglob("*.sh3f"), *path.rglob("sweethome3d.jar")]):
            models += [model for file in found for model in _libraries_catalogue(file)]
        elif path.is_dir():
            models += _folders_catalogue(path)  # says what is missing
        else:
            raise FileNotFoundError(f"there is no furniture library {path}")
    return models


SHAPES = {  # of primitives; all others are boxes
    "bed": "bed", "bunk": "bed", "sofa": "sofa", "corner sofa": "sofa", "armchair": "sofa", "toilet": "sofa",
    "chair": "chair", "office chair": "chair", "coffee table": "table", "table": "table", "small table": "table",
    "desk": "table", "stool": "table", "bookcase": "shelves", "office cabinet": "shelves", "floor lamp": "lamp",
    "table lamp": "lamp", "plant": "lamp", "small plant": "lamp",
}  # fmt: skip
USUAL = {  # width, depth and height in metres of primitives whose rule leaves them open
    "bunk": (0.95, 2.0, 1.5), "crib": (0.7, 1.2, 0.8), "bedside": (0.45, 0.4, 0.5), "wardrobe": (1.2, 0.6, 2.0),
    "chest": (1.0, 0.45, 0.85), "coffee table": (1.1, 0.6, 0.42), "stool": (0.4, 0.4, 0.75),
    "office chair": (0.55, 0.55, 0.95), "tv": (1.0, 0.12, 0.6), "bookcase": (0.9, 0.32, 1.9),
    "piano": (1.4, 0.55, 1.2), "fireplace": (1.2, 0.35, 1.1), "table lamp": (0.28, 0.28, 0.45),
    "ceiling lamp": (0.3, 0.3, 0.12), "sink": (0.9, 0.6, 0.9), "fridge": (0.6, 0.62, 1.8), "island": (1.2, 0.8, 0.9),
    "washer": (0.6, 0.6, 0.85), "toilet": (0.4, 0.6, 0.75), "basin": (0.6, 0.45, 0.85), "shower": (0.9, 0.9, 2.0),
    "towel rail": (0.5, 0.08, 0.4), "filing": (0.4, 0.55, 0.7), "office cabinet": (1.0, 0.45, 1.6),
    "cooler": (0.3, 0.3, 1.2), "computer": (0.34, 0.24, 0.03), "wall unit": (0.6, 0.2, 0.3),
    "cellar": (0.6, 0.6, 0.6), "gym": (0.7, 1.5, 0.9), "floor thing": (0.4, 0.3, 0.3), "thing": (0.14, 0.1, 0.12),
    "kitchen thing": (0.1, 0.1, 0.18), "office thing": (0.2, 0.15, 0.06), "bath thing": (0.07, 0.07, 0.16),
}  # fmt: skip


def primitives() -> list[Model]:
    """Boxes and simple shapes for every role, for tests and for rooms without a furniture library."""
    library, models = Library("primitives", "none needed", None), []
    for role in (*RULES, *dict.fromkeys(SMALL.values())):
        size = USUAL.get(role) or tuple((low + high) / 2 for low, high in RULES[role][2:])
        for k in (0.92, 1.0):
            scaled = tuple(side * k for side in size)
            models.append(Model(role, "", scaled, library, SHAPES.get(role, "box"), role=role))
    return models


def by_role(models: Iterable[Model]) -> dict[str, list[Model]]:
    """The models that can play each role; a role without model is filled by primitives.

    Example:
        >>> sorted(model.file for model in by_role([])["bed"])
        ['bed', 'bed']
    """
    roles: dict[str, dict[tuple, Model]] = defaultdict(dict)
    for model in models:
        letter = LETTERS.get(model.category, "?")
        if model.role:
            roles[model.role][model[:3]] = model
            continue
        for role, rule in RULES.items():
            ranges = zip(model.size, (rule.width, rule.depth, rule.height), strict=True)
            if letter in rule.categories and all(low <= side <= high for side, (low, high) in ranges):
                if re.search(rule.pattern, model.name, re.IGNORECASE):
                    roles[role][model[:3]] = model
        width, depth, height = model.size
        if letter in SMALL and max(model.size) < 0.48 and max(width, depth) > 0.05 and height > 0.008:
            if not NOT_SMALL.search(model.name):
                roles[SMALL[letter]][model[:3]] = model
    for model in primitives():
        if not roles[model.role] or next(iter(roles[model.role].values())).library.path is None:
            roles[model.role][model[:3]] = model
    return {role: list(models.values()) for role, models in roles.items()}
