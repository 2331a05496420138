"""Several processes train one network: `torchrun --nproc-per-node 2 -m veridical train ...`, one for each GPU.

Every process makes the same batches, passes its parts of each through its copy of the network, and steps with
the sum of all gradients: the step is that of one process which gathers the same parts (`micro_batch`). Batch
normalisation sees the rows of one process at a time; its running statistics are those of the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """One process of several, by rank and number. Alone, nothing is exchanged."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place, in each of them."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients in all processes.

        One that has no gradient in any process keeps none, as an optimiser skips it then.
        """
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        reached = self.sum(torch.tensor([p.grad is not None for p in trained], dtype=torch.int32))
        for parameter in (p for p, is_reached in zip(trained, reached.tolist(), strict=True) if is_reached):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self.sum(parameter.grad)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: running statistics differ, parameters do not."""
        if self.size > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, who can hear one another inside this context; else `ALONE`."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    # With no backend named: gloo for tensors of the CPU, NCCL for those of GPUs. The first process may audit
    # data for long while the others wait; if one dies, torchrun ends them all.
    torch.distributed.init_process_group(timeout=timedelta(days=1))
    try:
        yield Processes(torch.distributed.get_rank(), size)
    finally:
        torch.distributed.destroy_process_group()


def device_of_process(device: str) -> str:
    """`cuda` is a GPU of its own for each process that torchrun started on this machine."""
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if device == "cuda" and rank is not None else device
