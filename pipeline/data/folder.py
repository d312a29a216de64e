"""Your own pictures: a folder of files, labelled by the folders they lie in or by a labels.csv.

The folder's layout is told by what it holds (an extra folder `unlabelled` may stand in each):
    train/<class>/…, test/<class>/…
    labelled/<class>/…, test/<class>/…
    <class>/…, test/<class>/…
    labels.csv with the columns path,label and perhaps part (train or test), beside any folders
Without a test part one is drawn. How pictures are read says `_decoding`; what was read is kept in
the cache, see `_cache`.
"""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import PIL

from pipeline import progress
from pipeline.data import _cache, _label_table, _layout, _names
from pipeline.data._checks import Finding
from pipeline.data._listing import Listing, listed, shown
from pipeline.data._skipped import refuse
from pipeline.data.dataset import Dataset, LabelDoor, Options
from pipeline.errors import UserError, looked_for

FORMAT = 5  # of the cache's entries; a new number makes all of them anew
NEEDS = f"dataset=folder needs a folder of pictures: {_layout.LAYOUTS}"
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def load(data_dir: Path | None, options: Options) -> Dataset:
    """Read the pictures below data_dir, or what the cache holds of them.

    Images are uint8 [n, side, side, c], memory-mapped and read-only; c = 1 if all pictures are
    grey. Files are sorted by name in each part. A file that cannot be used is skipped and stands
    in the finding `unreadable`. Raises UserError if the folder is no data set, if the cache cannot
    be written, and with options.strict for a file that cannot be used.
    """
    root = _checked(data_dir)
    progress.phase("listing pictures")
    listing = listed(root)
    _refuse_empty(listing)
    where = f"dataset=folder ({root})"
    fingerprint = listing.fingerprint(FORMAT, PIL.__version__, options._replace(strict=False))
    key = _cache.key_of(fingerprint)
    kept = _cache.found(key) if key else None
    if kept is None:
        kept = _read(listing, options, fingerprint, where)
    dataset = _dataset(kept)
    if options.strict:
        refuse(dataset.findings, where)
    return dataset


def _checked(data_dir: Path | None) -> Path:
    """The folder that data_dir is."""
    if data_dir is None:
        raise UserError(f"dataset=folder needs data_dir; {NEEDS}")
    if data_dir.is_dir():
        return data_dir
    if not data_dir.exists():
        raise UserError(f"data_dir={data_dir} does not exist{looked_for(data_dir)}; {NEEDS}")
    suffix = data_dir.suffix.lower()
    if suffix == ".npz":
        remedy = "say dataset=npz for a file of arrays"
    elif suffix in ARCHIVES or zipfile.is_zipfile(data_dir) or tarfile.is_tarfile(data_dir):
        remedy = "unpack it, and name the folder that comes out as data_dir"
    elif data_dir.name == "labels.csv":
        remedy = f"name the folder it lies in: data_dir={data_dir.parent}"
    else:
        remedy = NEEDS
    raise UserError(f"data_dir={data_dir} is a file, not a folder; {remedy}")


def _refuse_empty(listing: Listing) -> None:
    """Raise UserError if there is nothing that may be a picture."""
    root, names = listing.root, [entry.name for entry in listing.files]
    others = any(not name.lower().endswith((*ARCHIVES, ".npz", ".npy")) for name in names)
    if others and not any(name.startswith("train-images") for name in names if "ubyte" in name):
        return
    remedy = NEEDS
    if any(name.lower().endswith(ARCHIVES) for name in names):
        remedy = "unpack it there, and name the folder that comes out as data_dir"
    if any(name.lower().endswith(".npz") for name in names):
        remedy = "for a file of arrays say dataset=npz"
    if others:
        remedy = "these are IDX files; say whose they are: dataset=mnist or fashion_mnist"
    found = _names.few([*names, *listing.companions])
    raise UserError(f"data_dir={root} holds no pictures{found and f' but {found}'}; {remedy}")


def _read(listing: Listing, options: Options, fingerprint: str, where: str) -> _cache.Kept:
    """Read the pictures, unless the cache knows their content."""
    # Pillow's formats are loaded only where pictures are read.
    from pipeline.data import _entry, _reading
    from pipeline.data._decoding import Look

    by = _layout.by_folders if listing.table is None else _label_table.by_table
    layout = by(listing)
    files = listing.files
    opened = [file for file in files if not file.reason]  # opening a pipe would wait for ever
    looked = iter(_reading.look(listing.root, [f.name for f in opened], [f.size for f in opened]))
    looks = [Look() if file.reason else next(looked) for file in files]
    reasons = [
        file.reason or look.reason or outside
        for file, look, outside in zip(files, looks, layout.outside, strict=True)
    ]
    drawn = 0.0 if any(layout.is_test) else options.test_frac
    decisive = options._replace(strict=False, test_frac=drawn)
    sha = hashlib.sha256(repr((FORMAT, PIL.__version__, decisive)).encode())
    sha.update(repr((listing.table, listing.companions, listing.folders)).encode())
    for file, look, reason in zip(files, looks, reasons, strict=True):
        sha.update(repr((shown(file.name), look.digest, reason)).encode())
    key = sha.hexdigest()[:32]
    kept = _cache.found(key)
    if kept is None:
        pictures = _entry.Pictures(listing, layout, looks, reasons, where)
        with _cache.making(_entry.wanted(pictures, options)) as made:
            about = _entry.make(pictures, options, made)
            _refuse_changed(listing, where)
            _cache.keep(made, key, about)
            kept = _cache.found(key)
        if kept is None:
            raise UserError(f"{_cache.folder() / key} was removed or damaged meanwhile; try again")
    _cache.remember(fingerprint, key)
    return kept


def _refuse_changed(listing: Listing, where: str) -> None:
    """Raise UserError if files have changed since they were listed: what was read may be either."""
    now = set(listed(listing.root).files)
    changed = [entry.name for entry in listing.files if entry not in now]
    if changed:
        raise UserError(
            f"{where}: {len(changed):,} of its files changed or vanished while they were read "
            f"({_names.few(changed)}); run again when nothing writes there any more"
        )


def _dataset(kept: _cache.Kept) -> Dataset:
    """The data set that an entry of the cache holds."""
    about, part = kept.about, kept.table["part"]
    names = np.array(_cache.unpacked(kept.table["name"]), object)
    labels = kept.table["label"].astype(np.int64)
    n_train, n_classes = about["n_train"], len(about["class_names"])
    return Dataset(
        name="folder",
        class_names=tuple(about["class_names"]),
        train_images=kept.images[:n_train],
        train_labels=LabelDoor(labels[part == 0], n_classes),
        test_images=kept.images[n_train:],
        test_labels=LabelDoor(labels[part == 1], n_classes),
        digest=about["digest"],
        pixel_range=tuple(about["pixel_range"]),
        findings=tuple(
            Finding(f["name"], f["count"], f["sentence"], tuple(map(tuple, f["rows"])))
            for f in about["findings"]
        ),
        train_files=names[part == 0].tolist(),
        test_files=names[part == 1].tolist(),
        scale=about["scale"],
    )
