"""Writes the golden files from the originals: `make golden`."""

import golden
import huggingface_originals
import originals

for case in golden.GOLDEN:
    source = huggingface_originals if case.encoder.startswith("mit") else originals
    model = source.build(case)
    shapes = source.shapes(model)
    source.load(model, golden.filled(shapes))
    golden.store(case, shapes, source.maps(case, model, golden.picture(golden.SIZE)))
    print(f"{case.name}.npz")
