"""Train, evaluate and publish DepthUNet models."""

import depth_unet  # noqa: F401  (repairs a torchvision of another build before accelerate or timm is imported)
