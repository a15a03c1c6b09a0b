"""What processes that share every batch (DDP) do together; where there is one, nothing happens."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as together
from torch.nn.modules.batchnorm import _BatchNorm

Network = TypeVar("Network", bound=nn.Module)


def world_size() -> int:
    """How many processes share a batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def gathered(values: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; each has as many. No gradient."""
    if world_size() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def gathered_with_gradient(values: Tensor) -> Tensor:
    """The same, where every process's rows get the gradients of all processes."""
    if world_size() == 1:
        return values
    return torch.cat(together.all_gather(values.contiguous()))


def synchronised(network: Network, device: torch.device) -> Network:
    """The network with batch norms whose statistics are those of all processes' crops.

    PyTorch's own are for GPUs only.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, SharedBatchNorm.like(child))
    return network


class SharedBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, (N, C, ...) -> the same shape, on any device.

    Processes may have different numbers of rows. In evaluation it is an ordinary one.
    """

    @classmethod
    def like(cls, norm: _BatchNorm) -> SharedBatchNorm:
        """One with the very parameters and statistics of another."""
        own = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        own.weight, own.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(own, name, buffer)
        return own.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape will do."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, ...) -> normalised by mean and variance of all processes."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            count = values.new_tensor(float(x.numel() // x.shape[1]))
            sums = together.all_reduce(torch.cat([values.sum(axes), count[None]]))
            total = sums[-1].detach()
            mean = (sums[:-1] / total).view(1, -1, *[1] * (x.ndim - 2))
            centred = values - mean
            variance = together.all_reduce(centred.square().sum(axes)) / total
            self._remember(mean.flatten(), variance, total)
            scale = (variance + self.eps).rsqrt().view_as(mean)
            return self._affine(centred * scale).to(x.dtype)

    def _affine(self, x: Tensor) -> Tensor:
        if not self.affine:
            return x
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        """Let running statistics follow, as `nn.BatchNorm3d` does."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * total / (total - 1), self.momentum)
