"""The TensorFlow Datasets builder behind `segjax.data.folders`; importing it imports TFDS."""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track
from tensorflow_datasets.core import constants, read_only_builder, registered

from segjax.errors import SegjaxError
from segjax.files import cannot_write

Read = Callable[[Path], np.ndarray]
"""Gives what a file holds as uint8 [H, W]."""


class ImageMaskFolder(tfds.core.GeneratorBasedBuilder):
    """Picture and mask files as a TFDS data set of one split, `pairs`, in the order given."""

    VERSION = tfds.core.Version("1.0.0")
    # TFDS looks for checksums of downloads beside the code, by a package it does not depend on.
    code_path = None

    def __init__(
        self,
        *,
        pairs: Sequence[tuple[Path, Path]] = (),
        read: Read | None = None,
        **kwargs: Any,
    ):
        self._pairs, self._read = pairs, read
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
            # Labels are: readers of palettes and colours are slow, and no epoch waits for them.
            yield key, {"image": str(image), "mask": self._encode(mask)}

    def _encode(self, mask: Path) -> Any:
        if self._read is None:
            return str(mask)
        _, data = cv2.imencode(".png", self._read(mask))
        return io.BytesIO(data.tobytes())


def prepare(
    pairs: Sequence[tuple[Path, Path]], digest: str, cache: Path | str, read: Read | None = None
) -> Sequence[Any]:
    """Copies the files to `cache`/`digest` unless they are there; gives records of encoded bytes.

    With `read`, masks are stored as what it makes of their files.

    Raises:
      SegjaxError: the copy cannot be written.
    """
    folder = Path(cache).expanduser() / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        builder = ImageMaskFolder(
            pairs=pairs,
            read=read,
            data_dir=str(folder),
            file_format=tfds.core.FileFormat.ARRAY_RECORD,
        )
        # TFDS's own bars and lines speak of downloads, and know no totals.
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except OSError as error:
        raise SegjaxError(cannot_write(folder, error)) from error
    return open_split(builder, "pairs", raw=("image", "mask"))


def open_split(builder: Any, split: str, *, raw: Sequence[str]) -> Sequence[Any]:
    """The records of a split, of which the features `raw` stay encoded bytes.

    Raises:
      SegjaxError: the data was prepared in another format.
    """
    try:
        return builder.as_data_source(
            split, decoders=dict.fromkeys(raw, tfds.decode.SkipDecoding())
        )
    except NotImplementedError:
        raise SegjaxError(
            f"{builder.data_dir} is in the format {builder.info.file_format.value}; batches need "
            "array_record; convert it with `tfds convert_format`, or prepare it in another folder "
            "by setting TFDS_DATA_DIR"
        ) from None


def find_builder(name: str, cache: Path | str | None) -> Any:
    """The builder of a data set of TFDS that is prepared; if it is not, prepares it.

    Args:
      name: NAME, NAME/CONFIG, with or without :VERSION.
      cache: where prepared data lies; where TFDS keeps it if None.

    Raises:
      SegjaxError: it cannot be prepared.
    """
    place: dict[str, Any] = {} if cache is None else {"data_dir": str(cache)}
    try:
        return read_only_builder.builder_from_files(name, **place)
    except registered.DatasetNotFoundError:
        pass
    wanted = f"{name} is not prepared in {cache or constants.DATA_DIR}"
    try:
        builder = tfds.builder(name, file_format=tfds.core.FileFormat.ARRAY_RECORD, **place)
        builder.download_and_prepare()
    except ModuleNotFoundError as error:
        raise SegjaxError(
            f"{wanted}; preparing it needs the module {error.name}; "
            "run: pip install 'segjax[train,tf]'"
        ) from error
    except (AssertionError, OSError) as error:  # files to be downloaded by hand; network, disk
        reason = " ".join(str(error).split())
        raise SegjaxError(f"{wanted} and cannot be: {reason}; mend that and try again") from error
    return builder
