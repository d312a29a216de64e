"""Files in torch's old format, written without torch: a pickle that names what it is told to."""

import pickle
import struct

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    """Stands for one of torch's storages, which a pickle keeps apart and refers to."""

    def __init__(self, key, values, kind="FloatStorage"):
        self.key, self.values, self.kind = key, values, kind


class Call:
    """Is pickled as the call of a function that may not exist here, by its name."""

    def __init__(self, name, arguments):
        self.name, self.arguments = name, arguments


class _Pickler(pickle._Pickler):
    """Python's own pickler, which lets a name be written that cannot be imported."""

    def named(self, name):
        self.write(pickle.GLOBAL + name.replace(" ", "\n").encode() + b"\n")

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Storage):
            self.write(pickle.MARK)
            self.save("storage")
            self.named(f"torch {thing.kind}")
            for part in (thing.key, "cpu", len(thing.values), None):
                self.save(part)
            self.write(pickle.TUPLE + pickle.BINPERSID)
        elif isinstance(thing, Call):
            self.named(thing.name)
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(thing, save_persistent_id)


def tensor(storage, shape, strides, offset=0):
    """What torch writes of a tensor."""
    arguments = (storage, offset, shape, strides, False, Call("collections OrderedDict", ()))
    return Call("torch._utils _rebuild_tensor_v2", arguments)


def write(path, named, storages=(), magic=MAGIC):
    """A file of tensors by name, whose storages hold the values of `storages`, NumPy arrays."""
    with path.open("wb") as file:
        for part in (magic, VERSION, {"little_endian": True}, named, [s.key for s in storages]):
            _Pickler(file, 2).dump(part)
        for storage in storages:
            file.write(struct.pack("<q", len(storage.values)) + storage.values.tobytes())
    return path
