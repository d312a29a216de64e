"""What a run was computed with: code, libraries, machine."""

import functools
import hashlib
import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.ops import runtime

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "mlflow", "pandas")


CODE = "ssgan.code"


@functools.cache
def tags() -> dict[str, str]:
    """The tag `ssgan.code`: a digest of every file of pipeline/ and configs/.

    The git commit, which MLflow tags by itself, does not see uncommitted changes.
    """
    files = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("configs/**/*.yaml")]
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return {CODE: sha.hexdigest()[:16]}


def peak_memory() -> dict[str, float]:
    """`memory/peak_mb`: megabytes of this process so far, pages of mapped files among them."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"memory/peak_mb": peak / (1e6 if sys.platform == "darwin" else 1e3)}


def environment() -> dict[str, str | int | None]:
    """Python, platform, cores and the versions that decide the numbers."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "cores": runtime.cores(),  # that this process may use; `threads: null` means as many
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        **{package: installed(package) for package in PACKAGES},
    }
