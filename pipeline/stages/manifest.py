"""What a split is, and the same as a table: logged, read back, given by a user (`split_file`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.data import UNKNOWN
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError, looked_for

Indices = NDArray[np.int64]
PARTS = ("labelled", "valid", "unlabelled", "test")
Files = tuple[Sequence[str], Sequence[str]]  # names of the training and the test pictures, or none


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted int64 index arrays: `test` into the test part, the others, disjoint, into training."""

    labelled: Indices
    unlabelled: Indices
    valid: Indices
    test: Indices

    @property
    def n_labels(self) -> int:
        """Labels this split costs, validation included."""
        return len(self.labelled) + len(self.valid)

    @property
    def pool(self) -> Indices:
        """Every image training may look at, sorted: labelled and unlabelled."""
        return np.union1d(self.labelled, self.unlabelled)


def to_manifest(
    split: Split, labels: Indices, class_names: Sequence[str], files: Files = ((), ())
) -> pd.DataFrame:
    """Table of the split: index (int64), part, label (int64; labelled and valid, else -1), class.

    The class is the label's name, "" where there is none. Of picture files there is a column
    path, too.
    """
    names = np.array([*class_names, ""], object)  # the last is -1's
    frames = []
    for part in PARTS:
        indices = getattr(split, part)
        known = labels[indices] if part in ("labelled", "valid") else UNKNOWN
        columns = {"index": indices, "part": part, "label": known}
        frames.append(pd.DataFrame(columns).assign(**{"class": names[known]}))
        if there := files[part == "test"]:
            frames[-1]["path"] = [there[int(index)] for index in indices]
    return pd.concat(frames, ignore_index=True)


def to_labels(split: Split, dataset: Dataset) -> pd.DataFrame:
    """The same for picture files: path, label (a class name, "" if hidden or unknown), part.

    A `labels.csv` of these columns is what `dataset: folder` reads. Labels of the test part are
    in it too: the folder says them. Pictures whose label is not read have no part: whoever writes
    a label there wants it read.
    """
    names = np.array(dataset.class_names, object)
    frames = []
    for part in PARTS:
        indices = getattr(split, part)
        tested = part == "test"
        files = dataset.test_files if tested else dataset.train_files
        door = dataset.test_labels if tested else dataset.train_labels
        label = "" if part == "unlabelled" else names[door.read(indices, "split")]
        paths = [files[int(index)] for index in indices]
        shown = "" if part == "unlabelled" else part
        frames.append(pd.DataFrame({"path": paths, "label": label, "part": shown}))
    return pd.concat(frames, ignore_index=True)


def from_manifest(
    path: Path,
    labels: Indices,
    n_test: int,
    class_names: Sequence[str] = (),
    files: Files = ((), ()),
) -> Split:
    """Read a parquet manifest, ours or the user's, for training labels int64 [n] and n_test.

    Training images it leaves out are used for nothing; the test part must be whole. Pictures are
    found by their path where the manifest has one, so others may have joined them. Raises
    UserError, naming the path, if the file is not a manifest or does not fit the data.
    """
    where = f"split_file={path}"
    table = _read_manifest(path, where)
    if "path" in table and all(files):
        table = _found(table, files, where)
    parts = {}
    for part in PARTS:
        rows = table[table["part"] == part]
        _check_rows(rows, part, labels, n_test, where)
        parts[part] = np.sort(rows["index"].to_numpy())
    trained = np.concatenate([parts[part] for part in PARTS[:3]])
    for indices, half in ((trained, "training"), (parts["test"], "test")):
        values, counts = np.unique(indices, return_counts=True)
        if len(values) < len(indices):
            raise UserError(
                f"{where}: {half} image {values[counts > 1][0]} stands in it more than once; list "
                "each image once, in one part"
            )
    if len(parts["test"]) < n_test:
        raise UserError(
            f"{where}: lists {len(parts['test'])} of the {n_test} test images; the test part "
            "stays whole: add the others with part 'test' and label -1"
        )
    lacking = np.setdiff1d(labels[labels != UNKNOWN], labels[parts["labelled"]])
    if len(lacking):
        name = class_names[lacking[0]] if class_names else lacking[0]
        raise UserError(
            f"{where}: class {name} has no labelled image; add at least one of each class"
        )
    return Split(**parts)


def _read_manifest(path: Path, where: str) -> pd.DataFrame:
    """Read the table and check its columns, their types and the names of the parts."""
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else f"does not exist{looked_for(path)}"
        raise UserError(
            f"{where} {fault}; give the manifest.parquet of a run, or a parquet file with the "
            "columns index, part and label"
        )
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            content = file.read()
        content.validate(full=True)
        # What pandas noted beside the columns is not needed, and a foreign note can be wrong.
        table: pd.DataFrame = content.to_pandas(ignore_metadata=True)
    except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's own derive from these
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{where}: not a readable parquet file ({reason}); give the manifest.parquet of a run, "
            "or write a table with pandas' to_parquet"
        ) from error
    missing = [column for column in ("index", "part", "label") if column not in table.columns]
    if missing:
        raise UserError(
            f"{where}: has no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns)) or 'none'}, needed are index, part and label"
        )
    for column in ("index", "label"):
        if not pd.api.types.is_integer_dtype(table[column]) or table[column].isna().any():
            raise UserError(
                f"{where}: column {column} is {table[column].dtype}, perhaps with gaps; it must "
                "hold whole numbers only (label: -1 where there is none)"
            )
    unknown = table.loc[~table["part"].astype(str).isin(PARTS), "part"]
    if len(unknown):
        raise UserError(
            f"{where}: part {unknown.iloc[0]!r} is not known; allowed are {', '.join(PARTS)}"
        )
    return table.astype({"index": np.int64, "label": np.int64})


def _found(table: pd.DataFrame, files: Files, where: str) -> pd.DataFrame:
    """The table with the index that each path has among today's files."""
    tested = table["part"] == "test"
    for rows, there, half in ((~tested, files[0], "training"), (tested, files[1], "test")):
        paths = table.loc[rows, "path"]
        index = paths.map({name: number for number, name in enumerate(there)})
        if index.isna().any():
            raise UserError(
                f"{where}: there is no {half} picture {paths[index.isna()].iloc[0]!r}; was it "
                "removed or renamed, or has the test part changed? Bring it back, or let the run "
                "choose the split"
            )
        table.loc[rows, "index"] = index.astype(np.int64)
    return table


def _check_rows(rows: pd.DataFrame, part: str, labels: Indices, n_test: int, where: str) -> None:
    """Check one part's rows against the data: index range, and labels where labels belong."""
    n = n_test if part == "test" else len(labels)
    outside = rows[(rows["index"] < 0) | (rows["index"] >= n)]
    if len(outside):
        raise UserError(
            f"{where}: index {outside['index'].iloc[0]} of part {part} is outside the data, "
            f"allowed are 0..{n - 1}; was the manifest made for another data set?"
        )
    paid = part in ("labelled", "valid")
    expected = labels[rows["index"]] if paid else np.full(len(rows), UNKNOWN)
    wrong = (rows["label"] != expected) | (paid & (expected == UNKNOWN))
    if wrong.any():
        index, label = rows.loc[wrong, ["index", "label"]].iloc[0]
        remedy = (
            f"the data say {labels[index]} (-1 is unknown: no label to give); was the manifest "
            "made for another data set?"
            if paid
            else "only labelled and valid images carry one: write -1"
        )
        raise UserError(f"{where}: image {index} of part {part} has label {label}; {remedy}")
