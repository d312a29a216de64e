"""A small convolutional classifier, sized by the image."""

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.networks.layers import Activations, BatchNormalization, Classifier, add_noise
from pipeline.networks.spec import Spec, dtype_policy
from pipeline.ops.devices import Random

LARGE = 48  # pixels of the shorter side from which the first layer quarters it: it costs the most
LEAK = 0.1  # slope of the leaky ReLU below zero


class ConvClassifier(Classifier):
    """Convolutions that halve the image down to about 4–7 pixels, one more, then FC-128.

    28×28: 5×5/2-32, 3×3/2-64, 3×3-64, FC-128, K (3.3 million multiplications an image). Batch
    normalisation, leaky ReLU and noise after every layer. Flattening before the dense layer
    matters: average pooling lost 3 points of error at 100 MNIST labels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        pixel_scale: float,
        input_noise: float,
        layer_noise: float,
        random: Random,
        seed: int,
        policy: str = "float32",
    ) -> None:
        """Build for images of `image_shape` (h, w, c); `pixel_scale` brings them to unit spread.

        `policy` is Keras's dtype policy of the products and maps; weights, statistics and what
        leaves the network are float32.
        """
        super().__init__()
        self.image_shape = image_shape
        self.random, self.input_noise, self.layer_noise = random, input_noise, layer_noise
        # A weight, not a constant: a compiled step serves data of another scale too.
        self.pixel_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(pixel_scale), trainable=False
        )
        seeds = iter(range(seed, seed + 100))

        def convolution(kernel: int, filters: int, stride: int) -> keras.layers.Conv2D:
            start = keras.initializers.HeNormal(seed=next(seeds))
            return keras.layers.Conv2D(
                filters,
                kernel,
                stride,
                padding="same",
                use_bias=False,
                kernel_initializer=start,
                dtype=policy,
            )

        side, filters = min(image_shape[:2]), 32
        kernel, stride = (7, 4) if side >= LARGE else (5, 2)
        self.convolutions = [convolution(kernel, filters, stride)]
        side = -(-side // stride) * 2
        while side := -(-side // 2):
            if side < 8:
                break
            filters = min(2 * filters, 128)
            self.convolutions.append(convolution(3, filters, 2))
        self.convolutions.append(convolution(3, max(filters, 64), 1))
        self.hidden = keras.layers.Dense(
            128,
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
            dtype=policy,
        )
        self.norms = [BatchNormalization() for _ in range(len(self.convolutions) + 1)]
        self.output_layer = keras.layers.Dense(
            n_classes, kernel_initializer=keras.initializers.LecunNormal(seed=next(seeds))
        )
        self(tf.zeros([1, *image_shape]))

    def forward(
        self,
        images: tf.Tensor,
        training: bool,
        update_statistics: bool,
        prepared: None = None,
        noisy: bool = True,
    ) -> Activations:
        """See `Classifier.forward`; features are FC-128 and the last convolution's map."""
        noise = (self.input_noise, self.layer_noise) if training and noisy else (0.0, 0.0)
        h = add_noise(images, noise[0], self.random) * self.pixel_scale.value
        layers, maps = [*self.convolutions, self.hidden], []
        for layer, norm in zip(layers, self.norms, strict=True):
            if layer is self.hidden:
                h = tf.reshape(h, [-1, h.shape[1] * h.shape[2] * h.shape[3]])
            h = norm(layer(h), training=training, update_statistics=update_statistics)
            h = add_noise(tf.nn.leaky_relu(h, LEAK), noise[1], self.random)
            maps.append(h)
        before, last, h = (tf.cast(part, tf.float32) for part in maps[-3:])
        return Activations(self.output_layer(h), (h, last), (before, last))


def build(config: Config, spec: Spec, random: Random, seed: int) -> ConvClassifier:
    """The network for images of `spec`."""
    return ConvClassifier(
        spec.image_shape,
        spec.n_classes,
        pixel_scale=spec.pixel_scale,
        input_noise=config.input_noise,
        layer_noise=config.layer_noise,
        random=random,
        seed=seed,
        policy=dtype_policy(config),
    )
