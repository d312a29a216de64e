"""How many floating-point operations a step needs, whatever program runs it.

Counted are the multiply-adds of matrix products and convolutions, two operations each; a
convolution's at the image's edge count as if the padding were there. Noise, augmentation,
normalisation, activations, losses, Adam and moving averages count nothing.

A step needs, with r real images (labelled and unlabelled), f generated ones, and u unlabelled
ones:

- classifier: forward, r + f images; gradient of its weights, r + f; gradient of its layers'
  inputs, r + f, but not of the first layer's, which are images;
- generator: forward, f; gradient of its weights, f; of its layers' inputs but the first's, f;
- gradient of feature matching down to the generated images, f: all layers but the output's;
- `ssgan`'s teacher: forward, u;
- where the generator learns from other images than the discriminator: forward of the generator, f,
  and of the updated classifier but for its output, f + u (`sgan` needs no real images there; they
  are counted all the same).

A step of `ssgan`'s generator needs, with n pairs of a real and a generated image:

- generator: forward, gradients of its weights and of its layers' inputs but the first's, n;
- discriminator: forward, gradients of its weights and inputs, 2n; the images are inputs too;
- in every fourth step the penalty, 2n: a gradient of the inputs, and the two of that gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.config.schema import Config


def step(method: Any, config: Config, image_shape: Sequence[int]) -> int:
    """Operations that one step of `method`, built from `config` for such images, needs.

    Known for `feature_matching`, `bad_gan`, `sgan` and the classifier of `ssgan`.
    """
    classifier = layers(lambda x: method.network.forward(x, False, False).logits, image_shape)
    unlabelled = config.unlabelled_batch_size
    generator, generated = [], 0  # that of `ssgan` has steps of its own
    if method.latents is not None and not method.generator_steps:
        generator = layers(lambda z: method.generator(z, training=False), [method.latents.size])
        generated = config.own.get("generated_batch_size", unlabelled)
    return operations(
        classifier,
        generator,
        real=config.batch_size + unlabelled,
        generated=generated,
        teacher=unlabelled if config.method == "ssgan" else 0,
        again=0 if config.method == "ssgan" else unlabelled,
    )


def generate(method: Any, config: Config, image_shape: Sequence[int]) -> int:
    """Operations that one step of the generator of `ssgan` needs, a quarter of a penalty in it."""
    import tensorflow as tf

    from pipeline.parts.relativistic_gan import PENALTY_EVERY

    gan, pairs = method.gan, config.own["generated_batch_size"]
    classes = tf.zeros([1, gan.n_classes])
    generator = layers(lambda z: gan.generator((z, classes)), [gan.latents.size])
    discriminator = layers(lambda x: gan.discriminator((x, classes)), image_shape)
    of_pair = 3 * sum(generator) - generator[0]
    of_pair += round(2 * (3 + 3 / PENALTY_EVERY) * sum(discriminator))
    return 2 * pairs * of_pair


def operations(
    classifier: Sequence[int],
    generator: Sequence[int],
    *,
    real: int,
    generated: int,
    teacher: int,
    again: int,
) -> int:
    """Operations of a step, from multiply-adds of each layer for one image and image counts.

    again: unlabelled images that the generator's update looks at beside `generated` new ones.
    """
    both = real + generated
    multiply_adds = both * (2 * sum(classifier) + sum(classifier[1:]))
    multiply_adds += generated * (2 * sum(generator) + sum(generator[1:]))
    multiply_adds += generated * sum(classifier[:-1])
    multiply_adds += teacher * sum(classifier)
    if again:
        multiply_adds += generated * sum(generator) + (generated + again) * sum(classifier[:-1])
    return 2 * multiply_adds


def layers(network: Callable[[Any], Any], shape: Sequence[int]) -> list[int]:
    """Multiply-adds of each layer of `network` for one input of `shape`, in order.

    Reads them off the traced graph: every MatMul and Conv2D is a layer.
    """
    import tensorflow as tf

    graph = tf.function(network).get_concrete_function(tf.TensorSpec([1, *shape])).graph
    counts = []
    for operation in graph.get_operations():
        if operation.type in ("MatMul", "Conv2D"):
            weights = operation.inputs[1].shape
            outputs = operation.outputs[0].shape
            counts.append(outputs.num_elements() // outputs[-1] * weights.num_elements())
    return counts
