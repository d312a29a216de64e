"""A backbone that costs nothing, for tests of what stands on one."""

import keras

from pipeline.networks.backbones import Backbone


def small_backbone(side, digest="0"):
    """Two maps, of 5 and 9 channels, their weights drawn from fixed seeds."""

    def convolution(size, seed):
        kernel = keras.initializers.GlorotUniform(seed)
        return keras.layers.Conv2D(size, 3, 2, activation="relu", kernel_initializer=kernel)

    images = keras.Input((side, side, 3))
    first = convolution(5, 1)(images)
    network = keras.Model(images, [first, convolution(9, 2)(first)])
    return Backbone("small", "nothing", digest, side, network)
