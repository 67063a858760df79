"""Data sets by name: KIND:PATH on the command line."""

from torch.utils.data import ConcatDataset, Dataset, Subset

from depth_unet import DiodeDataset, RgbdFolder
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.shards import ShardDataset

KINDS = ("rgbd", "diode", "nyu", "prepared")
HELP = (
    "KIND:PATH, may be given several times. rgbd:PATH is a folder or tar of pictures with 16-bit PNG (mm) or npy "
    "(m) depth maps; diode:ROOT is DIODE as downloaded, diode/indoors:ROOT or diode/outdoor:ROOT a part of it; "
    "nyu:FILE is nyu_depth_v2_labeled.mat, with splits.mat beside it; prepared:DIR is what train.prepare wrote"
)


def split_name(name: str) -> tuple[str, str, str]:
    """Kind, part ("" for all) and path of KIND:PATH or KIND/PART:PATH.

    Raises:
        ValueError: not of that form, or unknown kind.
    """
    kind, colon, path = name.partition(":")
    kind, _, part = kind.partition("/")
    if not colon or not path or kind not in KINDS or (part and kind != "diode"):
        raise ValueError(f"data must be given as KIND:PATH with KIND one of {', '.join(KINDS)}, not {name!r}")
    return kind, part, path


def open_data(name: str, split: str) -> Dataset:
    """A data set of `DepthSample`.

    Args:
        name: KIND:PATH, see `HELP`.
        split: "train", "val" or "test", for kinds that have it.

    Raises:
        ValueError: not of that form, or unknown kind.
        FileNotFoundError: nothing there.
    """
    kind, part, path = split_name(name)
    if kind == "diode":
        return DiodeDataset(path, split, part or "all")
    if kind == "nyu":
        return NyuDataset(path, "test" if split == "test" else "train", filled=split == "train")
    if kind == "prepared":
        return ShardDataset(path, split)
    return RgbdFolder(path, filled=split == "train")


def open_split(names: list[str], val_names: list[str]) -> tuple[Dataset, Dataset]:
    """Training and validation data.

    Where no validation data are named, DIODE's own are taken, raw or prepared, and of other data the last tenth, in
    the order of their names: neighbours in a recording look alike, so a random tenth would be too easy.
    """
    if val_names:
        training = [open_data(name, "train") for name in names]
        validation = [open_data(name, "val") for name in val_names]
    else:
        training, validation = [], []
        for name in names:
            whole = open_data(name, "train")
            if isinstance(whole, DiodeDataset) or (isinstance(whole, ShardDataset) and "val" in whole.splits):
                training.append(whole)
                validation.append(open_data(name, "val"))
            else:
                cut = len(whole) - max(1, len(whole) // 10)
                training.append(Subset(whole, range(cut)))
                scored = whole if isinstance(whole, ShardDataset) else open_data(name, "val")
                validation.append(Subset(scored, range(cut, len(whole))))
    return ConcatDataset(training), ConcatDataset(validation)
