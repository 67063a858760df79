"""Train, evaluate and publish DepthUNet models."""
