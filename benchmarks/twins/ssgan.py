"""The classifier of our recipe `ssgan` in plain PyTorch, without its warm-up and its generator."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.twins import common
from benchmarks.twins.common import Settings, Trained, add_noise


class Classifier(nn.Module):
    """5×5/2-32, 3×3/2-64, 3×3-64, FC-128, K, for 28×28 images."""

    def __init__(self, pixel_scale: float, n_classes: int, settings: Settings) -> None:
        """`pixel_scale` brings pixels in [0, 1] to unit spread."""
        super().__init__()
        self.pixel_scale = pixel_scale
        self.noise = settings["input_noise"], settings["layer_noise"]
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False),
                nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
                nn.Conv2d(64, 64, 3, padding=1, bias=False),
            ]
        )
        norm = {"eps": 1e-4, "momentum": 0.02}
        self.norms = nn.ModuleList(nn.BatchNorm2d(n, **norm) for n in (32, 64, 64))
        self.hidden = nn.Linear(7 * 7 * 64, 128, bias=False)
        self.hidden_norm = nn.BatchNorm1d(128, **norm)
        self.output = nn.Linear(128, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [n, 1, 28, 28] → logits [n, K]."""
        x = self._noisy(x, 0) * self.pixel_scale
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self._noisy(F.leaky_relu(norm(convolution(x)), 0.1), 1)
        h = F.leaky_relu(self.hidden_norm(self.hidden(x.flatten(1))), 0.1)
        return self.output(self._noisy(h, 1))

    def _noisy(self, x: Tensor, which: int) -> Tensor:
        return add_noise(x, self.noise[which]) if self.training else x


class SemiSupervisedGAN:
    """The method; `step` updates the classifier once."""

    def __init__(self, images: Tensor, labels: Tensor, settings: Settings) -> None:
        """Images uint8 [n, 1, 28, 28], labels int64 [l] of the first l."""
        self.settings, self.taken = settings, 0
        self.batches = common.Batches(images, labels, settings)
        scale = 1 / float((images[:1000].float() / 255).std())
        self.network = Classifier(scale, int(labels.max()) + 1, settings)
        if settings["variant"] != "eager":
            self.network.to(memory_format=torch.channels_last)
        self.average = common.averaged(self.network, settings).eval()
        self.class_balance = torch.bincount(labels) / len(labels)
        self.predicted_balance = self.class_balance.clone()
        self.discriminating = Trained(
            self.network,
            settings["discriminator_lr"],
            settings["discriminator_beta_1"],
            settings,
        )
        self.classifier_loss = common.compiled(self._classifier_loss, settings)
        self.teach = common.compiled(self._pseudo_labels, settings)

    def step(self) -> None:
        """Update classifier, then the moving average."""
        self.taken += 1
        labelled, labels, unlabelled = self.batches.draw()
        pseudo_labels, confident = self.teach(unlabelled)
        images = common.augment(torch.cat([labelled, unlabelled]), self.settings)
        ramp = self.settings["consistency_ramp"] * self.settings["steps"]
        weight = self.settings["consistency_weight"] * min(1.0, self.taken / max(1.0, ramp))
        self.discriminating.descend(
            self.classifier_loss(images, labels, pseudo_labels, confident, torch.tensor(weight))
        )
        self.average.update_parameters(self.network)

    @torch.no_grad()
    def _pseudo_labels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = self.average(images).softmax(1)
        self.predicted_balance.mul_(0.98).add_(0.02 * probabilities.mean(0))
        aligned = probabilities * (self.class_balance / self.predicted_balance)
        aligned = aligned / aligned.sum(1, keepdim=True)
        sure, pseudo_labels = aligned.max(1)
        return pseudo_labels, (sure > self.settings["confidence_threshold"]).float()

    def _classifier_loss(
        self,
        images: Tensor,
        labels: Tensor,
        pseudo_labels: Tensor,
        confident: Tensor,
        weight: Tensor,
    ) -> Tensor:
        n = len(labels)
        logits = self.network(images)
        consistency = F.cross_entropy(logits[n:], pseudo_labels, reduction="none") * confident
        return F.cross_entropy(logits[:n], labels) + weight * consistency.mean()


build = SemiSupervisedGAN
