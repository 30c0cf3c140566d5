"""VGG (Simonyan and Zisserman, 2015): 3×3 convolutions, halved five times by pooling.

FCN, U-Net's kin, SegNet and the first DeepLabs stand on it. The three fully connected layers are
left to them: FCN makes convolutions of them.
"""

from functools import partial

import jax
from flax import nnx

from segjax.models.blocks import Conv, ConvNorm, max_pool
from segjax.models.features import IMAGENET, FeatureInfo, dilate

DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions a stage: columns A, B, D and E of the paper's Table 1."""


class VGG(nnx.Module):
    """float [N, H, W, 3] → the maps before each pooling, and the last pooled one; any size.

    With `pooled`, what each pooling gives, at strides 2 to 32, as FCN and DeepLab take them.

    An `output_stride` of 16 or 8 takes the stride from pool5, or from pool4 too, and dilates what
    stands behind: pool4 and pool5 at stride 1 and conv5 with holes is DeepLab-LargeFOV's trunk
    (Chen et al., 2015), together with `pool=3`.

    Args:
      depths: convolutions in each stage.
      widths: channels of each stage.
      norm: batch norm behind each convolution, which the paper predates.
      pooled: see above.
      pool: side of the windows: 2, or DeepLab's 3, which are centred.
      ceil: whether pooling keeps the last row of an odd number, as Caffe does, for which the
        published weights were made; torchvision leaves it out.
      output_stride: 32, 16 or 8.
    """

    multiple = 1
    normalization = IMAGENET

    def __init__(
        self,
        *,
        depths: tuple[int, ...] = DEPTHS[16],
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        norm: bool = False,
        pooled: bool = False,
        pool: int = 2,
        ceil: bool = True,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        self.pools = tuple(dilate([2] * len(depths), output_stride))
        self.pooled, self.pool, self.ceil = pooled, pool, ceil
        make = ConvNorm if norm else Conv
        stages, channels = [], 3
        for depth, width, place in zip(depths, widths, self.pools, strict=True):
            stage = []
            for _ in range(depth):
                stage.append(
                    make(channels, width, 3, dilation=place.before, act=jax.nn.relu, rngs=rngs)
                )
                channels = width
            stages.append(nnx.List(stage))
        self.stages = nnx.List(stages)
        levels = [place.level for place in self.pools]
        if not pooled:
            levels, widths = [1, *levels], (*widths, widths[-1])
        self.output_stride = output_stride
        self.info = FeatureInfo(
            tuple(levels), tuple(min(level, output_stride) for level in levels), tuple(widths)
        )

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        before, after = [], []
        for stage, place in zip(self.stages, self.pools, strict=True):
            for conv in stage:
                x = conv(x)
            before.append(x)
            if not self.ceil and place.stride == 2:
                _, height, width, _ = x.shape
                x = x[:, : height // 2 * 2, : width // 2 * 2]
            x = max_pool(x, self.pool, stride=place.stride, dilation=place.before)
            after.append(x)
        return after if self.pooled else [*before, x]


VARIANTS = {
    f"vgg{layers}{suffix}": partial(VGG, depths=depths, norm=bool(suffix))
    for layers, depths in DEPTHS.items()
    for suffix in ("", "_bn")
}
