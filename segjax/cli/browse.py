"""`segjax browse`: what training will see, before it is trained on."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segjax.cli.train import load_config
from segjax.config import TrainConfig
from segjax.data import Item, NamedSource
from segjax.data.classes import Classes
from segjax.data.folders import draw_weights
from segjax.data.opening import find_data
from segjax.errors import SegjaxError
from segjax.images import write_image
from segjax.sheets import IGNORED, captioned, contact_sheet, fit, legend, paint

PERSON = (255, 64, 64)
"""The colour of the one class of a soft mask."""

SHARE = 0.5
"""Of that colour, or a label's, in what is laid over the picture."""


@dataclass(frozen=True)
class Options:
    """Draw contact sheets of a data set: pictures, and beside each its mask or labels over it.

    Of a config it writes `batches.png`, the first pictures that its run will see, changed at random
    and in the sizes of its batches, and `train.png` and `val.png`, some of the data as they are.
    Of --data alone it writes `train.png`. What is ignored is pale; the legend is below.

    Examples:
      segjax browse --config configs/portrait.py --data ~/people
      segjax browse --data ~/street --classes 11 --ignore 11
      segjax browse --data tfds:oxford_iiit_pet --classes 2 --part "train[:1%]"
    """

    config: Path | None = None
    """Python file of a training run."""
    data: str | None = None
    """Data folder, or tfds:NAME; instead of the config's own."""
    part: tuple[str, ...] = ("train.txt",)
    """Without --config: lists whose intersection is shown, or a split of TFDS."""
    classes: int = 1
    """Without --config: how many labels/ tells apart; 1 looks into masks/."""
    ignore: tuple[int, ...] = ()
    """Without --config: ids in labels/ that do not count."""
    out: Path = Path("out/browse")
    """Folder for the pictures."""
    count: int = 24
    """Pictures on each sheet."""
    seed: int = 0
    """Chooses the pictures of `train.png` and `val.png`."""


def main(options: Options) -> None:
    """Draws the sheets.

    Raises:
      SegjaxError: config or data is missing or broken, or an output cannot be written.
    """
    if options.count < 1:
        raise SegjaxError(f"--count is {options.count}; it must be at least 1; give a larger one")
    if options.config:
        config = load_config(options.config)
        if options.data:
            config = replace(config, data=replace(config.data, root=options.data))
        data = config.data
        root, classes, ignore, names = data.root, config.model.classes, data.ignore, data.names
        parts = {"train": data.train, "val": data.val}
    elif options.data:
        config = None
        root, classes, ignore, names = options.data, options.classes, options.ignore, ()
        parts = {"train": options.part}
    else:
        raise SegjaxError("got neither --config nor --data; one says what to draw; give it")
    found = find_data(root, classes=classes, ignore=ignore, names=names)
    sources = {name: found.open(part) for name, part in parts.items()}
    if config:
        items = itertools.islice(seen_in_training(sources["train"], config), options.count)
        _write(options.out / "batches.png", items, found.classes)
    for name, source in sources.items():
        _write(options.out / f"{name}.png", drawn(source, options), found.classes)


def seen_in_training(source: NamedSource, config: TrainConfig) -> Iterator[tuple[str, Item]]:
    """The pictures of a run from its beginning, by their batch, without end."""
    from segjax.data.loader import train_batches

    data = config.data
    batches = train_batches(
        source,
        batch_size=data.batch_size,
        buckets=[((b.height, b.width), b.weight) for b in data.buckets],
        seed=config.seed,
        augmentation=data.augmentation,
        classes=config.model.classes,
        weights=draw_weights(data.root, source.stems, data.favoured, data.favour),
        threads=data.threads,
    )
    for number, batch in enumerate(batches):
        for image, mask in zip(batch["image"], batch["mask"], strict=True):
            yield f"batch {number}", {"image": image, "mask": mask}


def drawn(source: NamedSource, options: Options) -> Iterator[tuple[str, Item]]:
    """Some pictures as they are, in the source's order, by their names."""
    rng = np.random.default_rng(options.seed)
    count = min(options.count, len(source))
    for index in sorted(rng.choice(len(source), count, replace=False).tolist()):
        yield source.stems[index], source[index]


def _write(path: Path, items: Iterable[tuple[str, Item]], classes: Classes | None) -> None:
    cells = []
    for name, item in items:
        height, width = item["mask"].shape
        pair = [fit(item["image"]), fit(lay_over(item, classes))]
        cells.append(captioned(f"{name}   {width}x{height}", np.concatenate(pair, axis=1)))
    sheet = contact_sheet(cells, columns=4)
    if classes:
        names = (*classes.names, "ignored")
        meaning = legend(names, np.vstack([classes.colours, IGNORED]), sheet.shape[1])
        sheet = np.concatenate([sheet, meaning])
    write_image(path, sheet)
    print(path)


def lay_over(item: Item, classes: Classes | None) -> np.ndarray:
    """uint8 [H, W, 3]: the picture under the colours of its labels, or of its mask."""
    image, mask = item["image"], item["mask"]
    if classes:
        share, colours = np.float32(SHARE), paint(mask, classes.colours)
    else:
        share, colours = mask[..., None].astype(np.float32) * (SHARE / 255), np.array(PERSON)
    return np.rint(image * (1 - share) + colours * share).astype(np.uint8)
