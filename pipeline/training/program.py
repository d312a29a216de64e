"""A method with its compiled steps: traced once, then run for any seed, rates, length and labels.

Tracing a step takes a second and more. A program that a training has let go of is taken up by the
next training of the same networks: its variables are set to those of a freshly built method.
"""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline import methods
from pipeline.config.key import Decides
from pipeline.config.own_keys import deciding
from pipeline.config.schema import Config
from pipeline.errors import UserError
from pipeline.methods import Batch, Method
from pipeline.networks.build import ExportedGenerator, PixelTable, exported_classifier
from pipeline.networks.spec import Spec
from pipeline.ops import devices
from pipeline.ops.devices import Random, local
from pipeline.ops.optimizers import Adam
from pipeline.parts import Part

IDLE = 4  # programs kept for the next training, the last ones; each holds networks and images


Step = Callable[[Batch], dict[str, tf.Tensor]]


class Phase(NamedTuple):
    """One of a method's kinds of step, compiled."""

    run: Callable[..., tf.Tensor]  # many steps in one call; returns the losses of each
    keys: list[str]  # the names of the losses


class Program:
    """A method, its compiled steps, and its averaged classifier and generator as functions."""

    def __init__(self, method: Method, config: Config) -> None:
        """Compile the steps of `method`, which was built under the strategy of `devices`."""
        self.method, self.config = method, config
        self.kind = ""  # what two programs must share to stand in for each other
        self.strategy = devices.strategy(config.devices)
        with self.strategy.scope():
            shape = method.network.image_shape
            self.images = tf.Variable(  # that a step may gather, uint8 [n, h, w, c]
                tf.zeros([1, *shape], tf.uint8), shape=[None, *shape], trainable=False
            )
        self.trained = {id(variable) for variable in method.network.trainable_variables}
        start = time.perf_counter()
        self.phases = {"step": self._compile(method.step)}
        if method.warm_up_share:
            self.phases["warm_up"] = self._compile(method.warm_up)
        if method.generator_steps:
            self.phases["generate"] = self._compile(method.generate, averages=False)
        if method.augment_steps:
            self.phases["augment"] = self._compile(method.augment)
        self.trace_seconds = time.perf_counter() - start
        self.stretching, self.shrinking = PixelTable(), PixelTable()
        self.classifier = exported_classifier(method.average, shape, self.stretching)
        self.classify = tf.function(self.classifier, reduce_retracing=True)
        self.generator = self.generate = None
        if method.latents is not None:
            self.generator = ExportedGenerator(method.generator, method.latents, self.shrinking)
            self.generate = tf.function(self.generator, reduce_retracing=True)

    def let_go_of_images(self) -> None:
        """Free their memory."""
        self.images.assign(tf.zeros([1, *self.images.shape[1:]], tf.uint8))
        self.method.let_go_of_images()

    def restart(self, method: Method) -> None:
        """Become like a freshly built method of the same kind: its configuration, its variables."""
        self.method.config, self.method.warm_up_share = method.config, method.warm_up_share
        self.method.generator_steps = method.generator_steps
        self.method.augment_steps = method.augment_steps
        pairs = zip(variables(self.method), variables(method), strict=True)
        for variable, fresh in pairs:
            variable.assign(fresh)

    def _compile(self, take: Step, *, averages: bool = True) -> Phase:
        """Compile the call that takes many steps, after each of which the average moves or not.

        Of each step it takes where in `images` the labelled ones lie, int32 [steps, batch], and
        those of the pool, int32 [steps, unlabelled batch]; the labels, int32 [steps, batch], the
        positions of the pool's images among all, int32 [steps, unlabelled batch], and three times
        float32 [steps]: share of the learning rates, share of the averages that is renewed,
        progress; and the learning rates, float32 [optimisers]. It returns float32 [steps, losses].
        """
        config = self.config
        own = tf.TensorSpec([config.batch_size], tf.int32)
        free = tf.TensorSpec([config.unlabelled_batch_size], tf.int32)
        scalar = tf.TensorSpec([], tf.float32)
        rates = tf.TensorSpec([len(self.method.optimizers)], tf.float32)

        @tf.function(autograph=False, jit_compile=self.config.jit_compile)
        def step(*batch: tf.Tensor) -> dict[str, tf.Tensor]:
            losses = self.strategy.run(functools.partial(self._step, take, averages), args=batch)
            return {
                name: self.strategy.experimental_local_results(value)[0]
                for name, value in losses.items()
            }

        traced = step.get_concrete_function(own, free, own, free, scalar, scalar, scalar, rates)
        keys = sorted(traced.structured_outputs)

        def many(spec: tf.TensorSpec) -> tf.TensorSpec:
            return tf.TensorSpec([None, *spec.shape], spec.dtype)

        each = (own, free, own, free, scalar, scalar, scalar)

        @tf.function(input_signature=[*map(many, each), rates])
        def run(*given):  # type: ignore[no-untyped-def]
            *of_steps, rates = given
            count = tf.shape(given[0])[0]
            rows = tf.TensorArray(tf.float32, count, element_shape=[len(keys)])
            for i in tf.range(count):
                losses = step(*[values[i] for values in of_steps], rates)
                rows = rows.write(i, tf.stack([losses[key] for key in keys]))
            return rows.stack()

        # Called as a concrete function: TensorFlow would warn of retracing in a process that
        # compiles many programs.
        return Phase(run.get_concrete_function(), keys)

    def _step(
        self,
        take: Step,
        averages: bool,
        own: tf.Tensor,
        free: tf.Tensor,
        labels: tf.Tensor,
        positions: tf.Tensor,
        factor: tf.Tensor,
        pace: tf.Tensor,
        progress: tf.Tensor,
        rates: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        for rate, optimizer in zip(tf.unstack(rates), self.method.optimizers.values(), strict=True):
            local(optimizer.learning_rate).assign(rate * factor)
        own, free, labels, positions = map(devices.part, (own, free, labels, positions))
        losses = take(Batch(self._pixels(own), labels, self._pixels(free), positions, progress))
        if averages:
            self._average(pace)
        names = sorted(losses)
        return dict(zip(names, devices.mean([losses[name] for name in names]), strict=True))

    def _pixels(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(local(self.images), rows), tf.float32) / 255.0

    def _average(self, pace: tf.Tensor) -> None:
        """Move the averaged weights; statistics that are no weights are copied."""
        networks = self.method.average, self.method.network
        for average, variable in zip(*(network.variables for network in networks), strict=True):
            if id(variable) in self.trained:
                # One operation for product and difference.
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=local(average).handle,
                    alpha=pace,
                    delta=local(average) - local(variable),
                )
            else:
                local(average).assign(local(variable))


def variables(method: Method) -> list[tf.Variable]:
    """Every variable that a method holds, once, in an order that its class decides."""
    found = variables_of([value for _, value in sorted(vars(method).items())])
    return list({id(variable): variable for variable in found}.values())


def variables_of(values: Sequence[Any]) -> Iterator[tf.Variable]:
    """The variables of layers, optimisers, random generators and parts; other values have none."""
    for value in values:
        if isinstance(value, tf.Variable):
            yield value
        elif isinstance(value, keras.layers.Layer):
            yield from (variable.value for variable in value.variables)
        elif isinstance(value, Adam):
            yield from value.variables
        elif isinstance(value, Random):
            yield value.state
        elif isinstance(value, Part):
            yield from variables_of([held for _, held in sorted(vars(value).items())])
        elif isinstance(value, Mapping):
            yield from variables_of(list(value.values()))


_idle: list[Program] = []


def prepare(config: Config, spec: Spec) -> Program:
    """A program for `config.method`, its weights drawn from `config.seed`: idle, or compiled anew.

    Raises:
        UserError: a batch does not divide among the devices.
    """
    strategy = devices.strategy(config.devices)
    for key in ("batch_size", "unlabelled_batch_size", "generated_batch_size"):
        size = config.flat().get(key, 0)
        if size % strategy.num_replicas_in_sync:
            raise UserError(
                f"{key} = {size} does not divide among {strategy.num_replicas_in_sync} devices: "
                f"choose a multiple of {strategy.num_replicas_in_sync}, or fewer devices"
            )
    with strategy.scope():
        method = methods.build(config, spec, config.seed)
    program = _made(method, config, _kind(config, spec))
    program.stretching.table.assign(spec.stretching)
    program.shrinking.table.assign(spec.shrinking)
    return program


def _made(method: Method, config: Config, kind: str) -> Program:
    """An idle program of this kind that takes `method` over, or a new one."""
    for program in _idle:
        if program.kind == kind:
            _idle.remove(program)
            program.restart(method)
            return program
    program = Program(method, config)
    program.kind = kind
    return program


def release(program: Program) -> None:
    """Let the next training of its kind take a program over; its models are then no more valid."""
    program.let_go_of_images()  # one whose training has failed holds them still
    _idle.append(program)
    del _idle[:-IDLE]


def _kind(config: Config, spec: Spec) -> str:
    traced = deciding(config, Decides.STEP)
    warms_up = bool(config.own.get("warm_up_share"))
    return json.dumps([traced, warms_up, spec.image_shape, spec.n_classes], sort_keys=True)
