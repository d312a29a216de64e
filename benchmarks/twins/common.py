"""What the twins share: batches, noise, augmentation, losses, optimiser, moving average."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Settings = Mapping[str, Any]  # the flat configuration of a run


class Batches:
    """Images and labels in memory; batches by a fresh permutation each pass."""

    def __init__(self, images: Tensor, labels: Tensor, settings: Settings) -> None:
        """Images uint8 [n, 1, h, w]; labels int64 [l] of the first l images."""
        self.images, self.labels = images, labels
        self.own = _indices(len(labels), settings["batch_size"])
        self.free = _indices(len(images), settings["unlabelled_batch_size"])

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled images, labels, unlabelled images; images float32 [n, 1, h, w] in [0, 1]."""
        own, free = next(self.own), next(self.free)
        return self.images[own].float() / 255, self.labels[own], self.images[free].float() / 255


def _indices(n: int, batch: int) -> Iterator[Tensor]:
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < batch:
            left = torch.cat([left, torch.randperm(n)])
        yield left[:batch]
        left = left[batch:]


class Trained:
    """A network with its Adam and learning-rate schedule."""

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        beta_1: float,
        settings: Settings,
        beta_2: float = 0.999,
    ) -> None:
        """Adam with the given rate and betas, the schedule that `settings` describes."""
        self.network = network
        fused = {"fused": True} if settings["variant"] != "eager" else {}
        self.adam = torch.optim.Adam(network.parameters(), lr, (beta_1, beta_2), **fused)
        self.schedule = LambdaLR(self.adam, _schedule(settings))

    def descend(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`."""
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.schedule.step()


def _schedule(settings: Settings) -> Callable[[int], float]:
    warmup, steps = max(1, settings["warmup_steps"]), settings["steps"]
    begin, final = settings["decay_from"] * steps, settings["final_lr_fraction"]

    def share(taken: int) -> float:
        step = taken + 1
        fallen = min(max((step - begin) / max(1.0, steps - begin), 0.0), 1.0)
        cosine = settings["decay"] == "cosine"
        left = 0.5 * (1 + math.cos(math.pi * fallen)) if cosine else 1 - fallen
        return min(1.0, step / warmup) * (final + (1 - final) * left)

    return share


def averaged(network: nn.Module, settings: Settings) -> AveragedModel:
    """The moving average of a network's weights; its buffers are copied."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings["ema_decay"]))


def compiled(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """`function`, through torch.compile if the variant asks for it."""
    return torch.compile(function) if settings["variant"] == "compiled" else function


def add_noise(x: Tensor, deviation: float) -> Tensor:
    """Add uniform noise of the given standard deviation."""
    return x + (torch.rand_like(x) - 0.5) * (deviation * 12**0.5)


def augment(images: Tensor, settings: Settings) -> Tensor:
    """Rotate, scale, shear and shift each image at random; [n, 1, h, w]."""
    amounts = [settings[f"augment_{name}"] for name in ("rotation", "scale", "shear", "shift")]
    if not any(amounts):
        return images
    rotation, scale, shear, shift = amounts
    n = len(images)
    bound = torch.tensor([rotation, scale, scale, shear, 2 * shift, 2 * shift])
    draws = (2 * torch.rand(n, 6) - 1) * bound
    angle, log_width, log_height, slant, right, down = draws.unbind(1)
    cos, sin = angle.cos(), angle.sin()
    width, height = log_width.exp(), log_height.exp()
    first = torch.stack([cos * width, (cos * slant - sin) * height, right], 1)
    second = torch.stack([sin * width, (sin * slant + cos) * height, down], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def real(logits: Tensor) -> Tensor:
    """Loss of real images: −mean log D, D = Z / (Z + 1), Z the sum of exp logits [n, K]."""
    return F.softplus(-logits.logsumexp(1)).mean()


def generated(logits: Tensor) -> Tensor:
    """Loss of generated images: −mean log(1 − D)."""
    return F.softplus(logits.logsumexp(1)).mean()


def match(true: Tensor, fake: Tensor) -> Tensor:
    """Feature matching: mean squared distance of the batch means; no gradient to the real side."""
    return F.mse_loss(fake.mean(0), true.detach().mean(0))
