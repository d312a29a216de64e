"""The generator of our recipe `ssgan` (R3GAN, Huang et al. 2024) in plain PyTorch.

As in the paper's code each network is updated from a forward pass of its own. R1 and R2 come every
fourth step, as ours do.
"""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.twins import common
from benchmarks.twins.common import Settings, Trained

PENALTY_EVERY, BETA_2, HIDDEN = 4, 0.95, 128
SCHEDULE = {"warmup_steps": 100, "decay": "linear", "decay_from": 0.5, "final_lr_fraction": 0.1}


class Block(nn.Module):
    """x + f(x) with two 3×3 convolutions in f."""

    def __init__(self, before: int, channels: int) -> None:
        """Take maps of `before` channels."""
        super().__init__()
        self.skip = nn.Identity() if before == channels else nn.Conv2d(before, channels, 1)
        self.first = nn.Conv2d(before, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, before, h, w] to [n, channels, h, w]."""
        return self.skip(x) + self.second(_leaky(self.first(_leaky(x))))


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class Generator(nn.Module):
    """7 × 7 maps, 14 × 14 maps, images of 28 × 28."""

    def __init__(self, n_classes: int, settings: Settings) -> None:
        """Channels are `generator_units`."""
        super().__init__()
        units, latents = settings["generator_units"], settings["latent_size"]
        self.embedding = nn.Linear(n_classes, latents, bias=False)
        self.start = nn.Linear(2 * latents, 7 * 7 * units[0])
        self.blocks = nn.ModuleList(Block(n, m) for n, m in itertools.pairwise([units[0], *units]))
        self.last = nn.Conv2d(units[-1], 4, 3, padding=1)
        self.offset = nn.Parameter(torch.zeros(1, 28, 28))

    def forward(self, latents: Tensor, classes: Tensor) -> Tensor:
        """Latents [n, d] and one-hot classes [n, K] → images [n, 1, 28, 28] in [0, 1]."""
        wanted = 4 * F.normalize(self.embedding(classes))
        x = self.start(torch.cat([latents, wanted], 1)).unflatten(1, (-1, 7, 7))
        for number, block in enumerate(self.blocks):
            x = block(F.interpolate(x, scale_factor=2) if number else x)
        return torch.sigmoid(F.pixel_shuffle(self.last(_leaky(x)), 2) + self.offset)


class Discriminator(nn.Module):
    """The generator's mirror image; the class by projection."""

    def __init__(self, n_classes: int, settings: Settings) -> None:
        """Channels are those of the generator, from the last on."""
        super().__init__()
        units = settings["generator_units"][::-1]
        self.first = nn.Conv2d(4, units[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(n, m) for n, m in itertools.pairwise([units[0], *units]))
        self.hidden = nn.Linear(7 * 7 * units[-1], HIDDEN)
        self.projection = nn.Linear(n_classes, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Logits [n] of "real"."""
        x = self.first(F.pixel_unshuffle(2 * images - 1, 2))
        for number, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if number else x)
        h = self.hidden(_leaky(x).flatten(1))
        return self.output(_leaky(h))[:, 0] + (h * self.projection(classes)).sum(1) / HIDDEN**0.5


class RelativisticGAN:
    """The method; `step` updates both networks once."""

    def __init__(self, images: Tensor, labels: Tensor, settings: Settings) -> None:
        """Images uint8 [n, 1, 28, 28]; labels int64 [l], repeated over the images."""
        n_classes, n = int(labels.max()) + 1, len(images)
        self.settings, self.taken, self.n = settings, 0, settings["generated_batch_size"]
        self.images, self.classes = images, F.one_hot(labels.repeat(-(-n // len(labels)))[:n])
        self.generator = Generator(n_classes, settings)
        self.discriminator = Discriminator(n_classes, settings)
        if settings["variant"] != "eager":
            self.generator.to(memory_format=torch.channels_last)
            self.discriminator.to(memory_format=torch.channels_last)
        self.average = common.averaged(self.generator, {"ema_decay": 0.999})
        rate = settings["generator_lr"], settings["generator_beta_1"]
        own = {**settings, **SCHEDULE, "steps": settings["generator_steps"]}
        self.discriminating = Trained(self.discriminator, *rate, own, BETA_2)
        self.generating = Trained(self.generator, *rate, own, BETA_2)
        self.generator_loss = common.compiled(self._generator_loss, settings)

    def step(self) -> None:
        """Update discriminator, then generator, then the moving average."""
        self.taken += 1
        rows = torch.randint(len(self.images), (self.n,))
        real, classes = self.images[rows].float() / 255, self.classes[rows].float()
        self.discriminating.descend(self._discriminator_loss(real, classes))
        self.discriminator.requires_grad_(False)
        self.generating.descend(self.generator_loss(real, classes))
        self.discriminator.requires_grad_(True)
        self.average.update_parameters(self.generator)

    def _discriminator_loss(self, real: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            fake = self.generator(torch.randn(self.n, self.settings["latent_size"]), classes)
        penalised = self.taken % PENALTY_EVERY == 0
        images = torch.cat([real, fake]).requires_grad_(penalised)
        logits = self.discriminator(images, classes.repeat(2, 1))
        loss = F.softplus(logits[self.n :] - logits[: self.n]).mean()
        if penalised:
            (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
            weight = PENALTY_EVERY * self.settings["penalty_weight"] / 2
            loss = loss + weight * slopes.square().sum() / self.n
        return loss

    def _generator_loss(self, real: Tensor, classes: Tensor) -> Tensor:
        fake = self.generator(torch.randn(self.n, self.settings["latent_size"]), classes)
        logits = self.discriminator(torch.cat([real, fake]), classes.repeat(2, 1))
        return F.softplus(logits[: self.n] - logits[self.n :]).mean()


build = RelativisticGAN
