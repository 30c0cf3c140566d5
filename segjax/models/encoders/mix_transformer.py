"""Mix Transformer, SegFormer's encoder (Xie et al., 2021, "SegFormer: Simple and Efficient Design
for Semantic Segmentation with Transformers").

Four stages at strides 4, 8, 16 and 32: overlapping patch embedding, then blocks of efficient
self-attention and Mix-FFN, then a norm. There is no positional code: the zero padding of the
Mix-FFN's 3×3 convolutions tells where a token stands, so any size will do.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from segjax.models.blocks import Conv, space_to_depth
from segjax.models.features import IMAGENET, FeatureInfo

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)

EPSILON = 1e-5
"""Of the norms in patch embeddings and sequence reduction."""

_start = nnx.initializers.truncated_normal(0.02)


class MixTransformer(nnx.Module):
    """float [N, H, W, 3] of any size → features at strides 4, 8, 16 and 32.

    Args:
      widths: channels of the four stages (the paper's Table 6, as are the following).
      depths: blocks of each.
      heads: of attention.
      reductions: each key and value stands for so many tokens squared.
      expansion: of the Mix-FFN.
      epsilon: of the norms of blocks and stages: 1e-6 as published; Hugging Face's has 1e-5.
      drop_path: chance that the last block is skipped by a picture in training; earlier ones'
        chances rise linearly from 0 (stochastic depth; Huang et al., 2016).
      output_stride: 32 is what there is.
    """

    multiple = 1
    normalization = IMAGENET

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        heads: tuple[int, ...] = HEADS,
        reductions: tuple[int, ...] = REDUCTIONS,
        expansion: int = 4,
        epsilon: float = 1e-6,
        drop_path: float = 0.0,
        output_stride: int = 32,
        rngs: nnx.Rngs,
    ):
        if output_stride != 32:
            raise ValueError(f"output_stride: got {output_stride}; 32 is built")
        self.output_stride = output_stride
        self.info = FeatureInfo((4, 8, 16, 32), (4, 8, 16, 32), tuple(widths))
        last = max(1, sum(depths) - 1)
        stages, before, done = [], 3, 0
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            drops = [drop_path * at / last for at in range(done, done + depth)]
            options = {"heads": heads[index], "reduction": reductions[index]}
            stages.append(
                Stage(
                    PatchEmbedding(before, width, *((7, 4) if index == 0 else (3, 2)), rngs=rngs),
                    [
                        Block(
                            width,
                            **options,
                            expanded=width * expansion,
                            epsilon=epsilon,
                            drop=drop,
                            rngs=rngs,
                        )
                        for drop in drops
                    ],
                    nnx.LayerNorm(width, epsilon=epsilon, rngs=rngs),
                )
            )
            before, done = width, done + depth
        self.stages = nnx.List(stages)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Stage(nnx.Module):
    """Patch embedding → blocks → norm."""

    def __init__(self, embed: nnx.Module, blocks: list[nnx.Module], norm: nnx.LayerNorm):
        self.embed, self.blocks, self.norm = embed, nnx.List(blocks), norm

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class PatchEmbedding(nnx.Module):
    """A convolution whose kernel is wider than its stride, so that patches overlap; then a norm."""

    def __init__(
        self, in_features: int, features: int, kernel: int, stride: int, *, rngs: nnx.Rngs
    ):
        self.project = Conv(in_features, features, kernel, stride=stride, rngs=rngs)
        self.norm = nnx.LayerNorm(features, epsilon=EPSILON, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.project(x))


class Block(nnx.Module):
    """x + attention(norm(x)), then x + Mix-FFN(norm(x))."""

    def __init__(
        self,
        features: int,
        *,
        heads: int,
        reduction: int,
        expanded: int,
        epsilon: float,
        drop: float,
        rngs: nnx.Rngs,
    ):
        self.norm1 = nnx.LayerNorm(features, epsilon=epsilon, rngs=rngs)
        self.attention = EfficientSelfAttention(features, heads, reduction, rngs=rngs)
        self.norm2 = nnx.LayerNorm(features, epsilon=epsilon, rngs=rngs)
        self.ffn = MixFFN(features, expanded, rngs=rngs)
        # One draw a picture: the branch is there as a whole, or not at all.
        self.drop = nnx.Dropout(drop, broadcast_dims=(1, 2, 3))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.ffn(self.norm2(x)))


class EfficientSelfAttention(nnx.Module):
    """Every pixel looks at a map `reduction` times smaller (the paper's equation 2).

    The reduction is a convolution over patches that do not overlap: R² pixels become one key and
    one value, so the cost falls by R².
    """

    def __init__(self, features: int, heads: int, reduction: int, *, rngs: nnx.Rngs):
        self.heads, self.reduction = heads, reduction
        linear = functools.partial(nnx.Linear, kernel_init=_start, rngs=rngs)
        self.query = linear(features, features)
        self.key = linear(features, features)
        self.value = linear(features, features)
        self.out = linear(features, features)
        self.reduce: nnx.Linear | None = nnx.data(None)
        self.norm: nnx.LayerNorm | None = nnx.data(None)
        if reduction > 1:
            self.reduce = linear(reduction**2 * features, features)
            self.norm = nnx.LayerNorm(features, epsilon=EPSILON, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        n, _, _, features = x.shape
        shape = (n, -1, self.heads, features // self.heads)
        seen = x
        if self.reduce is not None and self.norm is not None:
            seen = self.norm(self.reduce(space_to_depth(_whole(x, self.reduction), self.reduction)))
        mixed = jax.nn.dot_product_attention(
            self.query(x).reshape(shape),
            self.key(seen).reshape(shape),
            self.value(seen).reshape(shape),
        )
        return self.out(mixed.reshape(x.shape))


def _whole(x: jax.Array, factor: int) -> jax.Array:
    """The map without what is left over beyond whole patches; one patch at least, zeros behind."""
    sides = [max(1, side // factor) * factor for side in x.shape[1:3]]
    x = x[:, : sides[0], : sides[1]]
    missing = [(0, side - there) for side, there in zip(sides, x.shape[1:3], strict=True)]
    return jnp.pad(x, ((0, 0), *missing, (0, 0)))


class MixFFN(nnx.Module):
    """Linear → depthwise 3×3 → GELU → linear (the paper's equation 3)."""

    def __init__(self, features: int, expanded: int, *, rngs: nnx.Rngs):
        self.expand = nnx.Linear(features, expanded, kernel_init=_start, rngs=rngs)
        self.spatial = Conv(expanded, expanded, 3, depthwise=True, act=_gelu, rngs=rngs)
        self.project = nnx.Linear(expanded, features, kernel_init=_start, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.project(self.spatial(self.expand(x)))


_gelu = functools.partial(jax.nn.gelu, approximate=False)

_wide = functools.partial(MixTransformer, widths=(64, 128, 320, 512))

VARIANTS = {
    "mit_b0": functools.partial(MixTransformer, widths=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "mit_b1": functools.partial(_wide, depths=(2, 2, 2, 2)),
    "mit_b2": functools.partial(_wide, depths=(3, 4, 6, 3)),
    "mit_b3": functools.partial(_wide, depths=(3, 4, 18, 3)),
    "mit_b4": functools.partial(_wide, depths=(3, 8, 27, 3)),
    "mit_b5": functools.partial(_wide, depths=(3, 6, 40, 3)),
}
