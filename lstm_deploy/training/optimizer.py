"""AdamW for models of which most is tables."""

from typing import Any

import torch
from torch import Tensor


class TableAdamW(torch.optim.AdamW):
    """AdamW that leaves alone the rows of a table that a batch did not touch.

    A batch looks at a few hundred rows of tens of thousands; moving all of them for it takes longer than the
    rest of a step. Rows are those of parameters whose gradient is sparse; the others are treated as ever.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; sparse gradients have to be coalesced, and are gone afterwards."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._step_rows(table, group)
                    table.grad = None
        return super().step(closure)

    def _step_rows(self, table: Tensor, group: dict[str, Any]) -> None:
        rows, gradient = table.grad.indices()[0], table.grad.values()  # type: ignore[union-attr]
        state = self.state[table]
        if not state:
            state |= {
                "step": torch.zeros((), device=table.device),
                "exp_avg": torch.zeros_like(table),
                "exp_avg_sq": torch.zeros_like(table),
            }
        state["step"] += 1
        first, second = group["betas"]
        steps = float(state["step"])
        mean = state["exp_avg"][rows].lerp_(gradient, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        step = group["lr"] / (1 - first**steps)
        moved = table[rows].mul_(1 - group["lr"] * group["weight_decay"])
        moved.addcdiv_(mean, (square / (1 - second**steps)).sqrt_().add_(group["eps"]), value=-step)
        table.index_copy_(0, rows, moved)


def clip_gradients(parameters: list[Tensor], limit: float) -> None:
    """`torch.nn.utils.clip_grad_norm_` that also takes sparse gradients, which it coalesces."""
    found = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            found.append(parameter.grad.values())
        elif parameter.grad is not None:
            found.append(parameter.grad)
    scale = (limit / (torch.nn.utils.get_total_norm(found) + 1e-6)).clamp(max=1.0)
    for gradient in found:
        gradient.mul_(scale)
