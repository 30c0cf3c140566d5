"""The TensorFlow Datasets builder behind `segjax.data.folders`; importing it imports TFDS."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from segjax.errors import SegjaxError
from segjax.files import cannot_write


class ImageMaskFolder(tfds.core.GeneratorBasedBuilder):
    """Picture and mask files as a TFDS data set of one split, `pairs`, in the order given."""

    VERSION = tfds.core.Version("1.0.0")
    # TFDS looks for checksums of downloads beside the code, by a package it does not depend on.
    code_path = None

    def __init__(self, *, pairs: Sequence[tuple[Path, Path]] = (), **kwargs: Any):
        self._pairs = pairs
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "mask": tfds.features.Image(shape=(None, None, 1)),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        del dl_manager  # nothing is downloaded
        return {"pairs": self._generate_examples()}

    def _generate_examples(self) -> Any:
        # On stderr: a command's stdout is its report.
        console = Console(stderr=True)
        pairs = track(self._pairs, "preparing the data", console=console, transient=True)
        for key, (image, mask) in enumerate(pairs):
            # Given a path, TFDS stores the file's bytes: no picture is encoded a second time.
            yield key, {"image": str(image), "mask": str(mask)}


def prepare(pairs: Sequence[tuple[Path, Path]], digest: str, cache: Path | str) -> Sequence[Any]:
    """Copies the files to `cache`/`digest` unless they are there; gives records of encoded bytes.

    Raises:
      SegjaxError: the copy cannot be written.
    """
    folder = Path(cache).expanduser() / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        builder = ImageMaskFolder(
            pairs=pairs, data_dir=str(folder), file_format=tfds.core.FileFormat.ARRAY_RECORD
        )
        # TFDS's own bars and lines speak of downloads, and know no totals.
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except OSError as error:
        raise SegjaxError(cannot_write(folder, error)) from error
    skip = tfds.decode.SkipDecoding()
    read: Any = builder.as_data_source  # its decorator hides its arguments from type checkers
    return read("pairs", decoders={"image": skip, "mask": skip})
