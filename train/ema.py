"""The exponential moving average of the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """A copy of a model whose weights and buffers follow it as an exponential moving average.

    weight = decay * weight + (1 - decay) * new, with a decay of at most (1 + n) / (10 + n) after n updates, so that
    early averages do not keep the initial weights.

    Args:
        model: what is averaged; copied as it is.
        decay: per update; 0 copies the model.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        def follow(averages: list[torch.Tensor], values: list[torch.Tensor], seen: torch.Tensor) -> None:
            weight = 1 - min(decay, (1 + int(seen)) / (10 + int(seen)))
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, values, weight)
            else:
                torch._foreach_copy_(averages, values)

        super().__init__(model, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Load averages; those of encoder stages that are no longer built are left out."""
        unbuilt = tuple(f"module.{prefix}" for prefix in getattr(self.module, "unbuilt", ()))
        kept = {key: value for key, value in state_dict.items() if not key.startswith(unbuilt)}
        return super().load_state_dict(kept, *args, **options)
