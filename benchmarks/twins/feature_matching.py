"""Feature matching (Salimans et al. 2016, MNIST) in plain PyTorch.

The generator's step draws new latents and passes both them and the unlabelled images through the
discriminator again, as ours and the paper's code do.
"""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.twins import common
from benchmarks.twins.common import Settings, Trained, add_noise


class Discriminator(nn.Module):
    """Weight-normalised dense layers with noise; the hidden gains are not trained."""

    def __init__(self, pixels: int, n_classes: int, settings: Settings) -> None:
        """Hidden layers of `dense_units`."""
        super().__init__()
        self.noise = settings["input_noise"], settings["layer_noise"]
        units = [pixels, *settings["dense_units"]]
        self.hidden = nn.ModuleList(
            weight_norm(nn.Linear(n, m)) for n, m in itertools.pairwise(units)
        )
        for layer in self.hidden:
            layer.parametrizations.weight.original0.requires_grad_(False)
        self.output = weight_norm(nn.Linear(units[-1], n_classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 784] → logits [n, K] and features [n, d]."""
        x = add_noise(x, self.noise[0])
        for layer in self.hidden:
            features = F.relu(layer(x))
            x = add_noise(features, self.noise[1])
        return self.output(x), features


def generator(pixels: int, settings: Settings) -> nn.Module:
    """Uniform latents → softplus layers with batch normalisation → pixels in [0, 1]."""
    units = [settings["latent_size"], *settings["generator_units"]]
    layers: list[nn.Module] = []
    for n, m in itertools.pairwise(units):
        layers += [nn.Linear(n, m, bias=False), nn.BatchNorm1d(m), nn.Softplus()]
    return nn.Sequential(*layers, weight_norm(nn.Linear(units[-1], pixels)), nn.Sigmoid())


class FeatureMatching:
    """The method; `step` updates both networks once."""

    def __init__(self, images: Tensor, labels: Tensor, settings: Settings) -> None:
        """Images uint8 [n, 1, h, w], labels int64 [l] of the first l."""
        self.settings = settings
        self.batches = common.Batches(images, labels, settings)
        pixels = images[0].numel()
        self.network = Discriminator(pixels, int(labels.max()) + 1, settings)
        self.generator = generator(pixels, settings)
        self.average = common.averaged(self.network, settings)
        self.discriminating = Trained(
            self.network,
            settings["discriminator_lr"],
            settings["discriminator_beta_1"],
            settings,
        )
        self.generating = Trained(
            self.generator, settings["generator_lr"], settings["generator_beta_1"], settings
        )
        self.discriminator_loss = common.compiled(self._discriminator_loss, settings)
        self.generator_loss = common.compiled(self._generator_loss, settings)

    def step(self) -> None:
        """Update discriminator, then generator, then the moving average."""
        labelled, labels, unlabelled = self.batches.draw()
        images = common.augment(torch.cat([labelled, unlabelled]), self.settings).flatten(1)
        self.discriminating.descend(self.discriminator_loss(images, labels))
        self.network.requires_grad_(False)
        self.generating.descend(self.generator_loss(images[len(labels) :]))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith("hidden") or "original0" not in name)
        self.average.update_parameters(self.network)

    def _discriminator_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        n, m = len(labels), len(images) - len(labels)
        with torch.no_grad():
            fakes = self.generator(torch.rand(m, self.settings["latent_size"]))
        logits, _ = self.network(torch.cat([images, fakes]))
        labelled, unlabelled, fake = logits.split([n, m, m])
        unsupervised = 0.5 * (common.real(unlabelled) + common.generated(fake))
        weight = self.settings["unsupervised_weight"]
        return F.cross_entropy(labelled, labels) + weight * unsupervised

    def _generator_loss(self, images: Tensor) -> Tensor:
        fakes = self.generator(torch.rand(len(images), self.settings["latent_size"]))
        with torch.no_grad():
            _, true = self.network(images)
        _, fake = self.network(fakes)
        return common.match(true, fake)


build = FeatureMatching
