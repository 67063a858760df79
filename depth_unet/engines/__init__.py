"""Other ways to run a model than torch in this process."""

from depth_unet.model import DepthUNet


def open_model(name):
    """Temporary."""
    return DepthUNet.from_pretrained(name)
