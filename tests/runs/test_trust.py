"""A model that another person has planted in a run is refused, and none of its code runs."""

import pickle
import shutil
from functools import partial
from pathlib import Path

import mlflow
import pytest
import yaml

from pipeline.config import layers as config
from pipeline.errors import UserError
from pipeline.runs import flow
from pipeline.tracking import trust

SHORT = {"steps": "20", "method": "supervised", "baseline": "false", "label_frac": "0.05"}


@pytest.fixture(scope="module")
def ran(module_store):
    """A finished run, and the folder of its classifier."""
    result = flow.run(config.load(SHORT))
    [described] = module_store.glob("mlruns/*/models/*/artifacts/MLmodel")
    return result.run_id, described.parent


@pytest.fixture
def planted(ran, tmp_path, monkeypatch):
    """The same, to be changed: afterwards the model is as it was."""
    run_id, model = ran
    kept = tmp_path / "kept"
    shutil.copytree(model, kept)
    # What is planted leaves this file when it runs, and can be imported.
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield run_id, model, tmp_path
    shutil.rmtree(model)
    shutil.copytree(kept, model)
    assert not (tmp_path / "ran").exists()


class Program:
    """What a pickle runs when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def change(model, **flavours):
    file = model / "MLmodel"
    said = yaml.safe_load(file.read_text())
    for name, values in flavours.items():
        said["flavors"].setdefault(name, {}).update(values)
    file.write_text(yaml.safe_dump(said))


def refused(run_id, why):
    with pytest.raises(UserError, match=why) as error:
        flow.evaluate({"run_id": run_id})
    assert "\n" not in str(error.value)


def test_the_run_as_it_stands_is_evaluated(ran):
    assert flow.evaluate({"run_id": ran[0]}).metrics["test/error"] <= 1


def test_a_foreign_loader_is_not_imported(planted):
    run_id, model, _ = planted
    change(model, python_function={"loader_module": "evil"})
    refused(run_id, "names the loader 'evil'")


def test_a_foreign_flavour_is_not_unpickled(planted):
    run_id, model, folder = planted
    (model / "model.pkl").write_bytes(pickle.dumps(Program(folder / "ran")))
    change(model, sklearn={"pickled_model": "model.pkl", "serialization_format": "pickle"})
    refused(run_id, "names the flavour 'sklearn'")


def test_code_that_is_brought_along_is_not_imported(planted):
    run_id, model, folder = planted
    (model / "code").mkdir()
    shutil.copy(folder / "evil.py", model / "code" / "mlflow_evil.py")
    refused(run_id, "brings code")
    shutil.rmtree(model / "code")
    change(model, python_function={"code": "code"})
    refused(run_id, "brings code")


def test_a_module_named_beside_the_weights_is_not_imported(planted):
    run_id, model, _ = planted
    (model / "data" / "keras_module.txt").write_text("evil")
    assert flow.evaluate({"run_id": run_id}).metrics["test/error"] <= 1


OPERATION = "SavedModel holds the operation '(WriteFile|ReadFile|EagerPyFunc|DecodeProtoV2)'"
DEBUG = ["DebugIdentity", "DebugNanCount", "DebugNumericSummary"]


def replaced(model, made):
    """Plant a module in the place of the model's own SavedModel."""
    import tensorflow as tf

    shutil.rmtree(model / "data" / "model")
    tf.saved_model.save(made, str(model / "data" / "model"))


def classifier(act=lambda: None):
    """A module whose endpoint does something before it answers."""
    import tensorflow as tf

    class Evil(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.uint8)])
        def serve(self, images):
            with tf.control_dependencies([done] if (done := act()) is not None else []):
                return tf.ones([tf.shape(images)[0], 10]) / 10

    return Evil()


@pytest.mark.parametrize("effect", ["write", "read", "python", "describe"])
def test_a_graph_that_does_more_than_compute_is_not_run(planted, effect):
    import tensorflow as tf

    run_id, model, folder = planted
    target = str(folder / "ran")

    def describe():
        bare = {"message_type": "a", "field_names": [], "output_types": []}
        return tf.raw_ops.DecodeProtoV2(bytes=[b""], descriptor_source=target, **bare).sizes

    acts = {
        "write": lambda: tf.io.write_file(target, "x"),
        "read": lambda: tf.io.read_file(target),
        "python": lambda: tf.py_function(lambda: Path(target).touch(), [], []),
        "describe": describe,
    }
    replaced(model, classifier(acts[effect]))
    refused(run_id, OPERATION)


def classified(network, shape):
    from pipeline.networks.build import PixelTable, exported_classifier

    return exported_classifier(network, shape, PixelTable())


def own(kind):
    import numpy as np

    from pipeline.networks import build
    from pipeline.networks.spec import Spec
    from pipeline.ops.devices import Random

    shape = (24, 20, 3)
    spec = Spec(shape, 3, np.full(3, 1 / 3, np.float32), 2.5, np.zeros((2, *shape), np.uint8))
    settings = config.load({"network": kind, "dense_units": "[9]", "width": "4"})
    return classified(build.classifier(settings, spec, Random(0), 0), shape)


def transferred(network, shape=(24, 20, 1)):
    """The classifier on a backbone, with enlarged grey images."""
    from pipeline.networks.backbones import Backbone
    from pipeline.networks.pretrained import PretrainedClassifier
    from pipeline.ops.devices import Random

    side = network.input_shape[1]
    backbone = Backbone("some", "nothing", "0", side, network)
    return classified(PretrainedClassifier(shape, 3, backbone, Random(0)), shape)


def depthwise():
    import keras
    import tensorflow as tf

    from pipeline.networks.convolutions import depthwise_convolution

    images = keras.Input((32, 32, 3))
    kernel = tf.ones([3, 3, 3, 1])
    layer = keras.layers.Lambda(lambda x: tf.nn.relu6(depthwise_convolution(x, kernel, 2)))
    return transferred(keras.Model(images, layer(images)))


def drawing(kind):
    import tensorflow as tf

    from pipeline.networks.build import ExportedGenerator, PixelTable
    from pipeline.networks.conditional import ConditionalGenerator
    from pipeline.networks.generators import conv, dense, softplus
    from pipeline.networks.residual_gan import ResidualGenerator, SampleGenerator
    from pipeline.networks.spec import Latents

    shape = (9, 13, 3)
    if kind == "residual":
        network = SampleGenerator(ResidualGenerator(16, 3, [12, 8], (8, 12, 3), 0), shape)
    else:
        module = {"conv": conv, "dense": dense, "softplus": softplus}[kind]
        network = module.build(16, (8, 8), shape, seed=0)
    if kind == "dense":
        network = ConditionalGenerator(network, 16, 3, seed=1)
    latents = Latents(16, "normal", 3 if kind in ("dense", "residual") else 0)
    made = ExportedGenerator(network, latents, PixelTable())
    made(tf.zeros([2, 16 + latents.n_classes]))
    return made


def application(name):
    import importlib

    import keras

    from pipeline.networks.backbones._applications import Prepared

    make = getattr(keras.applications, name)
    network = make(include_top=False, weights=None, input_shape=(75, 75, 3))
    images = keras.Input((75, 75, 3))
    prepare = importlib.import_module(make.__module__).preprocess_input
    return transferred(keras.Model(images, network(Prepared(prepare)(images))))


MADE = {"depthwise": depthwise}
MADE |= {kind: partial(own, kind) for kind in ("conv", "dense", "resnet")}
MADE |= {f"{kind} generator": partial(drawing, kind) for kind in ("conv", "dense", "softplus")}
MADE |= {"residual generator": partial(drawing, "residual")}
APPLICATIONS = ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "ResNet50V2", "VGG16"]
APPLICATIONS += ["Xception", "InceptionV3", "DenseNet121", "NASNetMobile", "EfficientNetB0"]
SLOW = [pytest.param(partial(application, name), marks=pytest.mark.slow) for name in APPLICATIONS]


@pytest.mark.parametrize("make", [*MADE.values(), *SLOW], ids=[*MADE, *APPLICATIONS])
def test_no_model_of_ours_is_refused(make, tmp_path):
    make().export(tmp_path / "model", verbose=False)
    trust._check_operations(tmp_path / "model" / "saved_model.pb", "run")


def _traced_save(images):
    """Named as TensorFlow names what saves a model."""
    import tensorflow as tf

    with tf.control_dependencies([tf.io.write_file("ran", "x")]):
        return tf.ones([tf.shape(images)[0], 10]) / 10


def saving(as_what):
    """A module that calls a function with the name of one that saves."""
    import tensorflow as tf
    from tensorflow.core.framework.attr_value_pb2 import NameAttrList

    spec = tf.TensorSpec([None, 8, 8, 1], tf.uint8)
    function = tf.function(_traced_save)
    concrete = function.get_concrete_function(spec)
    if as_what == "endpoint":
        made = tf.Module()
        made.serve = function
        return made

    def act():
        concrete.add_to_graph()
        (answer,) = tf.raw_ops.StatelessCase(
            branch_index=tf.zeros([], tf.int32),
            input=[tf.zeros([1, 8, 8, 1], tf.uint8)],
            Tout=[tf.float32],
            branches=[NameAttrList(name=concrete.name)],
        )
        return answer

    return classifier(act)


@pytest.mark.parametrize("as_what", ["endpoint", "branch"])
def test_the_name_of_a_function_that_saves_hides_nothing(planted, as_what, monkeypatch):
    run_id, model, folder = planted
    replaced(model, saving(as_what))
    monkeypatch.chdir(folder)
    refused(run_id, "SavedModel writes files")


@pytest.mark.parametrize("graphs", [1, 2])
def test_what_a_graph_without_objects_runs_when_it_is_loaded_is_not_run(planted, graphs):
    import tensorflow as tf

    run_id, model, folder = planted
    shutil.rmtree(model / "data" / "model")
    builder = tf.compat.v1.saved_model.Builder(str(model / "data" / "model"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        start = tf.io.write_file(str(folder / "ran"), "x")
        builder.add_meta_graph_and_variables(session, ["serve"], main_op=start)
        for number in range(1, graphs):
            builder.add_meta_graph([str(number)])
    builder.save()
    refused(run_id, "SavedModel is not of one graph with its objects")


def test_something_else_than_a_saved_model_is_told(planted):
    run_id, model, _ = planted
    (model / "data" / "model" / "saved_model.pb").write_bytes(b"\xff\xffnot a graph")
    refused(run_id, "cannot be read")
    shutil.rmtree(model / "data" / "model")
    refused(run_id, "holds no SavedModel")


def test_a_program_in_the_configuration_of_a_run_is_text(planted):
    run_id, _, folder = planted
    client = mlflow.MlflowClient()
    program = f"steps: !!python/object/apply:pathlib.Path.touch [{folder / 'ran'}]\n"
    client.log_text(run_id, program, "config.yaml")
    with pytest.raises(UserError) as error:
        flow.evaluate({"run_id": run_id})
    assert "\n" not in str(error.value)
