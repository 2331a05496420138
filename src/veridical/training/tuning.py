"""Part of a network is trained: its head, its normalisations, its last blocks, or low-rank changes.

Low-rank changes: Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, Lu Wang,
Weizhu Chen: LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, https://arxiv.org/abs/2106.09685, on
the projections to queries and values, as there. We differ where a network keeps query, key and value in one
matrix: all of it is changed. Alpha is the rank, so changes are not scaled.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils import parametrize

from veridical.errors import UsageError
from veridical.training.experiment import Experiment, architecture

_PROJECTIONS = ("query", "value", "key_value", "query_key_value")
_NORMALISATIONS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
_HINT = "tune is 'all', 'head', 'norm', 'last:K' or 'lora:R'."


class LowRank(nn.Module):
    """A matrix plus the product of two thin ones, which is zero at first."""

    def __init__(self, matrix: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(matrix.new_empty(rank, matrix.shape[1]))
        self.up = nn.Parameter(matrix.new_zeros(matrix.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, matrix: Tensor) -> Tensor:
        """The changed matrix."""
        return matrix + self.up @ self.down


def open_for_training(model: nn.Module, experiment: Experiment) -> None:
    """Let what the experiment tunes of the network be trained, and its head, and nothing else.

    Raises `UsageError` where a network lacks what is named.
    """
    tune = experiment.loop.tune
    kind, _, number = tune.partition(":")
    model.requires_grad_(tune == "all")
    if tune == "all":
        return
    match kind, number:
        case "head", "":
            pass
        case "norm", "":
            _open_normalisations(model)
        case "last", _:
            _open_last(_blocks(model, experiment), _count(number, experiment))
        case "lora", _:
            for block in _blocks(model, experiment):
                _add_low_rank(block, _count(number, experiment))
        case _:
            raise UsageError(f"There is no way '{tune}' to tune a network.", hint=_HINT)
    for part in _head(model, experiment):
        part.requires_grad_(True)


def set_training_mode(model: nn.Module) -> None:
    """Training mode, but for batch normalisations that are frozen: their statistics are frozen too."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            module.train(module.weight.requires_grad)


def merged(model: nn.Module) -> dict[str, Tensor]:
    """The state of the network with low-rank changes added to their matrices: that of the architecture."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            prefix = f"{name}.parametrizations."
            state = {key: tensor for key, tensor in state.items() if not key.startswith(prefix)}
            state[f"{name}.weight"] = module.weight.detach()
    return state


def _open_normalisations(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, _NORMALISATIONS):
            module.requires_grad_(True)


def _open_last(blocks: list[nn.Module], count: int) -> None:
    if count > len(blocks):
        raise UsageError(f"the network has {len(blocks)} transformer blocks, not {count}.")
    for block in blocks[-count:]:
        block.requires_grad_(True)


def _head(model: nn.Module, experiment: Experiment) -> list[nn.Module]:
    names: tuple[str, ...] = getattr(architecture(experiment.architecture), "HEAD", ("head",))
    try:
        return [model.get_submodule(name) for name in names]
    except AttributeError as error:
        raise UsageError(
            f"'{experiment.architecture}' does not say what its head is, so it is trained as a whole.",
            hint="Leave tune=all, or define HEAD in the architecture's file.",
        ) from error


def _blocks(model: nn.Module, experiment: Experiment) -> list[nn.Module]:
    """Transformer blocks, the first ones first: whatever normalises before attention and before the rest."""
    blocks = [m for m in model.modules() if isinstance(getattr(m, "norm1", None), nn.LayerNorm)]
    if not blocks:
        raise UsageError(
            f"'{experiment.architecture}' has no transformer blocks, so this way to tune it means nothing.",
            hint="tune is 'all', 'head' or 'norm' for this network.",
        )
    return blocks


def _count(number: str, experiment: Experiment) -> int:
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(f"tune={experiment.loop.tune} needs a number from 1 on.", hint=_HINT)
    return int(number)


def _add_low_rank(block: nn.Module, rank: int) -> None:
    for name, module in list(block.named_modules()):
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in _PROJECTIONS:
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
