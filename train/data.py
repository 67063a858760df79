"""Data sets by name: KIND:PATH on the command line."""

from torch.utils.data import ConcatDataset, Dataset, Subset

from depth_unet import DiodeDataset, RgbdFolder

KINDS = ("rgbd", "diode")
HELP = (
    "KIND:PATH, may be given several times. rgbd:PATH is a folder or tar of pictures with 16-bit PNG (mm) or npy "
    "(m) depth maps; diode:ROOT is DIODE as downloaded, diode/indoors:ROOT or diode/outdoor:ROOT a part of it"
)


def open_data(name: str, split: str) -> Dataset:
    """A data set of `DepthSample`.

    Args:
        name: KIND:PATH, see `HELP`.
        split: "train" or "val", for kinds that have both.

    Raises:
        ValueError: not of that form, or unknown kind.
        FileNotFoundError: nothing there.
    """
    kind, colon, path = name.partition(":")
    kind, _, part = kind.partition("/")
    if not colon or not path or kind not in KINDS or (part and kind != "diode"):
        raise ValueError(f"data must be given as KIND:PATH with KIND one of {', '.join(KINDS)}, not {name!r}")
    if kind == "diode":
        return DiodeDataset(path, split, part or "all")
    return RgbdFolder(path, filled=split == "train")


def open_split(names: list[str], val_names: list[str]) -> tuple[Dataset, Dataset]:
    """Training and validation data.

    Where no validation data are named, DIODE's own are taken, and of the other kinds the last tenth, in the order
    of their names: neighbours in a recording look alike, so a random tenth would be too easy.
    """
    if val_names:
        training = [open_data(name, "train") for name in names]
        validation = [open_data(name, "val") for name in val_names]
    else:
        training, validation = [], []
        for name in names:
            whole = open_data(name, "train")
            if isinstance(whole, DiodeDataset):
                training.append(whole)
                validation.append(open_data(name, "val"))
            else:
                cut = len(whole) - max(1, len(whole) // 10)
                training.append(Subset(whole, range(cut)))
                validation.append(Subset(open_data(name, "val"), range(cut, len(whole))))
    return ConcatDataset(training), ConcatDataset(validation)
