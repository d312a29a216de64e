"""Files of a published data set, downloaded once into a cache, with checksums."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import progress
from pipeline.errors import UserError

# Seconds to connect and between two packets: somebody offline should hear it at once.
TIMEOUT = (3, 10)


def download(
    name: str, base_url: str, files: Sequence[str], md5: Sequence[str], needed: str
) -> list[Path]:
    """Paths of files in the cache of the data set `name`; missing or damaged ones are downloaded.

    They come from base_url and must have the checksums md5, in their order. `needed` says in
    messages what a user may put into a folder by hand. Raises UserError for a failed download and
    a cache folder that cannot be used.
    """
    import pooch
    from requests.exceptions import HTTPError, RequestException

    folder = Path.home() / ".cache" / "ssgan" / name
    paths = []
    file = ""
    try:
        for file, digest in zip(files, md5, strict=True):
            downloader = pooch.HTTPDownloader(
                progressbar=_Phase(file), timeout=TIMEOUT, chunk_size=2**16
            )
            # Pooch moves a file into place only once its checksum is right.
            path = pooch.retrieve(
                f"{base_url}{file}", f"md5:{digest}", file, folder, downloader=downloader
            )
            paths.append(Path(path))
    except (RequestException, ValueError) as error:
        if isinstance(error, HTTPError) and error.response is not None:
            reason = f"HTTP {error.response.status_code}"
        else:
            reason = type(error).__name__ if isinstance(error, OSError) else "wrong checksum"
        raise UserError(
            f"dataset={name}: cannot download {file} from {urlsplit(base_url).netloc} "
            f"({reason}); put {needed} by hand into a folder such as {folder} and say "
            f"data_dir={folder}, or use dataset=digits, which needs no download"
        ) from error
    except OSError as error:
        raise UserError(
            f"cache folder {folder} cannot be used ({error.strerror}); make it writable, or put "
            f"{needed} into another folder and name it as data_dir"
        ) from error
    return paths


class _Phase:
    """A download as a phase in megabytes; the methods are those pooch calls."""

    def __init__(self, file: str) -> None:
        self.file, self.done = file, 0

    @property
    def total(self) -> int:
        """Bytes to come; pooch sets it when the server has answered."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._total = total
        progress.phase(f"download {self.file}", total=total // 10**6, unit="MB")

    def update(self, n: int) -> None:
        self.done += n
        progress.advance(self.done // 10**6)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
