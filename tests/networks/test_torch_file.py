"""Tensors come out of torch's old files as they are; nothing that a file names is ever called."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.networks.backbones import efficientnet_lite0
from pipeline.networks.backbones._torch_file import tensors
from tests.networks.torch_files import Call, Storage, tensor, write


def mistake(path):
    with pytest.raises(UserError) as caught:
        tensors(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"weights {path}: ")
    return line


@pytest.fixture
def storage():
    return Storage("7", np.arange(24, dtype="<f4"))


def test_tensors_are_read_with_their_shapes_strides_and_offsets(tmp_path, storage):
    whole, count = storage.values, Storage("8", np.array([2**40, -3], "<i8"), "LongStorage")
    named = {
        "whole": tensor(storage, (2, 3, 4), (12, 4, 1)),
        "turned": tensor(storage, (4, 3), (1, 4), 12),
        "every third": tensor(storage, (8,), (3,)),
        "scalar": tensor(count, (), ()),
        "long": tensor(count, (2,), (1,)),
    }
    found = tensors(write(tmp_path / "some.pth", named, [count, storage]))
    assert list(found) == list(named)
    np.testing.assert_array_equal(found["whole"], whole.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["turned"], whole[12:].reshape(3, 4).T)
    np.testing.assert_array_equal(found["every third"], whole[::3])
    assert found["scalar"].shape == ()
    assert found["long"].tolist() == [2**40, -3]
    assert {name: str(part.dtype) for name, part in found.items()} == {
        **dict.fromkeys(named, "float32"),
        **dict.fromkeys(("scalar", "long"), "int64"),
    }


@pytest.mark.skipif(efficientnet_lite0.found() is None, reason="needs the extra pretrained")
def test_the_real_file_is_read():
    found = tensors(efficientnet_lite0.found())
    assert len(found) == 49 * 6 + 2  # 49 convolutions with their normalisation, a linear layer
    assert found["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert found["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert found["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(part).all() for part in found.values())
    variances = [part for name, part in found.items() if name.endswith("running_var")]
    assert len(variances) == 49
    assert min(part.min() for part in variances) >= 0


@pytest.mark.parametrize(
    "name",
    [
        *("os system", "posix system", "builtins eval", "builtins getattr", "subprocess Popen"),
        *("torch.nn Module", "torch load", "collections Counter", "torch._utils _rebuild_tensor"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_is_called(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    named = {"weight": Call(name, ("touch PWNED; open('PWNED', 'w')",))}
    line = mistake(write(tmp_path / "evil.pth", named))
    assert f"it names {name.replace(' ', '.')}, which is no tensor" in line
    # The same, where the file should say what it is.
    assert "which is no tensor" in mistake(write(tmp_path / "evil.pth", {}, magic=named["weight"]))
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_a_file_cut_off_anywhere_is_refused(tmp_path, storage):
    named = {"weight": tensor(storage, (24,), (1,))}
    content = write(tmp_path / "some.pth", named, [storage]).read_bytes()
    cut = tmp_path / "cut.pth"
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        mistake(cut)
    cut.write_bytes(content[:-1])
    assert "it is cut off" in mistake(cut)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        *(((25,), (1,), 0), ((2,), (1,), 23), ((3, 2), (12, 1), 0), ((1,), (1,), 24)),
        *(((2,), (-1,), 5), ((-1,), (1,), 0), ((1,), (1,), -1), ((2, 2), (1,), 0)),
        *(((10**13,), (0,), 0), ((2**70,), (0,), 0), (("a",), (1,), 0), (3, 1, 0)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(shape, strides, offset, tmp_path, storage):
    named = {"weight": tensor(storage, shape, strides, offset)}
    mistake(write(tmp_path / "some.pth", named, [storage]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"some words\n",
        b"<html>404</html>",
        b"PK\3\4 a zip",
        bytes(999),
        b"\x80\x02}q\0.",
        b"c",
    ],
)
def test_another_kind_of_file_is_refused(content, tmp_path):
    path = tmp_path / "some.pth"
    path.write_bytes(content)
    mistake(path)


PROTO_2, ONE, MEMO = b"\x80\x02", b"K\x01", b"r\xff\xff\xff\x0f"
HOSTILE = {
    "a memo of 4 GB": PROTO_2 + ONE + MEMO + b".",
    "a text memo of 4 GB": PROTO_2 + ONE + b"p268435455\n.",
    "an array of 1 TB": PROTO_2 + b"\x96" + (2**40).to_bytes(8, "little") + b".",
    "a deep key": PROTO_2 + b"}" + ONE + 5_000_000 * b"\x85" + b"K\x01s.",
    "a deep key of several": PROTO_2 + b"}(" + ONE + 5_000_000 * b"\x85" + b"K\x01u.",
    "a key that doubles": PROTO_2 + b"}" + ONE + 60 * b"q\0h\0\x86" + b"K\x01s.",
    "a set": PROTO_2 + b"\x8f(" + ONE + 60 * b"q\0h\0\x86" + b"\x90.",
    "a frozen set": PROTO_2 + b"(" + ONE + 60 * b"q\0h\0\x86" + b"\x91.",
    "a table of pairs": PROTO_2
    + b"ccollections\nOrderedDict\n]("
    + (ONE + 60 * b"q\0h\0\x86" + ONE + b"\x86e\x85R."),
    "a storage that doubles": PROTO_2
    + b"(X\7\0\0\0storage"
    + (b"N" + ONE + 60 * b"q\0h\0\x86" + b"NNNtQ."),
    "a kind that doubles": PROTO_2 + b"(" + ONE + 60 * b"q\0h\0\x86" + b"NNNNNtQ.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_once(name, tmp_path):
    path = tmp_path / "hostile.pth"
    path.write_bytes(HOSTILE[name])
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from pipeline.errors import UserError\n"
        "from pipeline.networks.backbones._torch_file import tensors\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: tensors(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    line, kilobytes = done.stdout.splitlines()
    assert line.startswith(f"weights {path}: no file of tensors in torch's old format")
    assert int(kilobytes) < 1_000_000


def test_things_that_are_no_tensors_are_refused(tmp_path, storage):
    for thing in (3, [1], {"weight": 3}, {"weight": None}, {"weight": {"weight": "text"}}):
        mistake(write(tmp_path / "some.pth", thing))
    mistake(write(tmp_path / "some.pth", {"weight": tensor(storage, (2,), (1,))}))  # no storage
    strange = Storage("7", storage.values, "HalfStorage")
    named = {"weight": tensor(strange, (2,), (1,))}
    assert "torch.HalfStorage" in mistake(write(tmp_path / "some.pth", named, [strange]))
    assert "No such file" in mistake(tmp_path / "missing.pth")
    assert "directory" in mistake(tmp_path)
