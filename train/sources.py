"""The data of a training run: what is trained on, and what chooses the checkpoint."""

from depth_unet.data import DataOptions, DepthData, Joined, Part, open_data, split_for, splits_of


def open_training(
    names: list[str], val_names: list[str], options: DataOptions | None = None
) -> tuple[Joined, list[DepthData]]:
    """Open training and validation data.

    Without `val_names`, each data set's own validation split is taken and, of a set without one, the last tenth in the
    order of its names is held back: neighbouring frames look alike, so a random tenth would be too easy. All of these
    are one validation.

    Args:
        names: KIND:PATH of the data to train on.
        val_names: KIND:PATH of the data to validate on; the first chooses the checkpoint.
        options: defaults for facts that the data files do not contain.

    Returns:
        The data to train on, one after the other, and the validations.

    Raises:
        ValueError, FileNotFoundError: as `depth_unet.data.open_data`, or a set is too small to hold a part back.
    """
    training = [open_data(name, split_for(name, "train"), options) for name in names]
    if val_names:
        return Joined(training), [open_data(name, split_for(name, "validate"), options) for name in val_names]
    kept, held = [], []
    for data in training:
        if "val" in splits_of(data.name):
            kept.append(data)
            held.append(open_data(data.name, "val", options))
            continue
        if len(data) < 2:
            raise ValueError(f"{data.name} has only one sample: name other data with --val-data")
        cut = len(data) - max(1, len(data) // 10)
        kept.append(Part(data, range(cut)))
        held.append(Part(data, range(cut, len(data)), f"the last tenth of {data.split}"))
    return Joined(kept), [Joined(held)]
