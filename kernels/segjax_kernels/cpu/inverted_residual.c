/* MobileNetV2's inverted residual (Sandler et al., 2018) of one picture, where AMX multiplies
 * bfloat16: 1x1 expand -> depthwise -> 1x1 project, in one go.
 *
 * The many channels in between never leave the nearer caches: a unit expands a few of them, filters
 * them in planes that have the edges' zeros around them, and leaves them as the bfloat16 numbers that
 * the projection multiplies. The result is that of the three convolutions by `by_tiles` and
 * `depthwise`, bit for bit.
 */
#include "tiles.h"

#ifdef __AVX512BF16__

enum { PAIR = 2 * SIDE };

/* Not NaN to 0: a broken mask must be seen to be one, and of two numbers that cannot be compared the
 * second is taken. */
static inline __m512 relu(__m512 x) { return _mm512_max_ps(_mm512_setzero_ps(), x); }

typedef struct {
  const float *x, *expand_bias, *kernel, *kernel_bias, *project_bias;
  const uint16_t *expand, *project; /* tiles */
  float *out;
  long h, w, channels, expanded, out_h, out_w, features, size, stride;
  bool shortcut;
  uint16_t *narrow, *wide; /* the map and the filtered one, numbers of a pixel padded to tiles */
  long narrow_pitch, wide_pitch;
} Block;

static long padded(long count, long to) { return (count + to - 1) / to * to; }

/* Products of two tiles of rows, `pitch` numbers apart, and two of columns, of all of those numbers. */
static Tiles pair_of_tiles(long pitch, float *sums) {
  const long steps = pitch / DEPTH;
  return (Tiles){.pitch = pitch,
                 .below = SIDE * pitch,
                 .next = steps * TILE,
                 .runs = 1,
                 .steps = steps,
                 .sums = sums,
                 .width = PAIR,
                 .fresh = true};
}

/* The map's numbers as bfloat16. */
static void narrow_down(const Block *b) {
  for (long i = 0; i < b->h * b->w; i++) {
    const float *from = b->x + i * b->channels;
    uint16_t *to = b->narrow + i * b->narrow_pitch;
    for (long c = 0; c < b->narrow_pitch; c += SIDE) {
      const long left = MIN(SIDE, b->channels - c);
      const __mmask16 some = left > 0 ? (1u << left) - 1 : 0;
      const __m512 numbers = _mm512_maskz_loadu_ps(some, from + c);
      _mm256_store_si256((__m256i *)(to + c), narrowed(numbers));
    }
  }
}

/* A few expanded rows of SIDE channels: row y is the one at y modulo `ring`, a power of two. They are
 * `across` pixels wide, and begin and end with the edges' zeros. */
typedef struct {
  float *rows;
  long ring, across, n; /* the first of the channels */
} Plane;

/* `count` neighbours of a row of the filtered map. */
static inline __attribute__((always_inline)) void neighbours(const Block *b, const Plane *p, long y,
                                                             long x, const int count,
                                                             const int size, const int stride) {
  const long top = y * stride - (size - 1) / 2;
  __m512 sums[12];
  UNROLL for (int m = 0; m < count; m++) sums[m] = _mm512_loadu_ps(b->kernel_bias + p->n);
  for (long ky = MAX(0, -top); ky < MIN(size, b->h - top); ky++) {
    const float *kernel = b->kernel + ky * size * b->expanded + p->n;
    const float *row = p->rows + (((top + ky) & (p->ring - 1)) * p->across + x * stride) * SIDE;
    __m512 taps[5];
    UNROLL for (int kx = 0; kx < size; kx++) taps[kx] = _mm512_loadu_ps(kernel + kx * b->expanded);
    UNROLL for (int i = 0; i < (count - 1) * stride + size; i++) {
      const __m512 number = _mm512_load_ps(row + i * SIDE);
      UNROLL for (int kx = i % stride; kx < size; kx += stride)
        if (kx <= i && (i - kx) / stride < count)
          sums[(i - kx) / stride] = _mm512_fmadd_ps(taps[kx], number, sums[(i - kx) / stride]);
    }
  }
  uint16_t *to = b->wide + (y * b->out_w + x) * b->wide_pitch + p->n;
  UNROLL for (int m = 0; m < count; m++)
    if (x + m < b->out_w)
      _mm256_store_si256((__m256i *)(to + m * b->wide_pitch), narrowed(relu(sums[m])));
}

/* Neighbours at once: of those that the registers hold, what wastes least of a row. */
static int neighbours_of(long width) {
  int count = 8;
  for (int more = 10; more <= 12; more += 2)
    if (padded(width, more) <= padded(width, count)) count = more;
  return count;
}

static void filter(const Block *b, const Plane *p, long y, int count) {
  for (long x = 0; x < b->out_w; x += count) switch (count * 100 + b->size * 10 + b->stride) {
#define KIND(COUNT, SIZE, STRIDE) \
  case COUNT * 100 + SIZE * 10 + STRIDE: neighbours(b, p, y, x, COUNT, SIZE, STRIDE); break;
#define KINDS(COUNT) KIND(COUNT, 3, 1) KIND(COUNT, 5, 1) KIND(COUNT, 3, 2) KIND(COUNT, 5, 2)
      KINDS(8)
      KINDS(10)
      KINDS(12)
    }
}

/* Units are pairs of tiles of expanded channels. */
static void expand_and_filter(const void *job, long begin, long end) {
  const Block *b = job;
  const long pad = (b->size - 1) / 2, pixels = b->h * b->w;
  const int count = neighbours_of(b->out_w);
  /* Those that are filtered last may reach beyond the edge, and count for nothing there. */
  const long reach = (padded(b->out_w, count) - 1) * b->stride + b->size;
  const long across = MAX(b->w + 2 * pad, reach);
  /* Those of a filtered row, and all that a pair of tiles may begin or end. */
  long ring = 8;
  while (ring < b->size + (PAIR - 1) / b->w + 1) ring *= 2;
  const long plane = ring * across * SIDE;
  float *planes = scratch(2, 2 * plane), *sums = scratch(3, PAIR * PAIR);
  memset(planes, 0, 2 * plane * sizeof(float));
  begin_tiles();
  for (long unit = begin; unit < end; unit++) {
    const long n = unit * PAIR;
    const int halves = b->expanded - n > SIDE ? 2 : 1;
    Tiles p = pair_of_tiles(b->narrow_pitch, sums);
    p.columns = b->expand + unit * 2 * p.next;
    const __m512 first = _mm512_loadu_ps(b->expand_bias + n);
    const __m512 second = halves > 1 ? _mm512_loadu_ps(b->expand_bias + n + SIDE) : first;
    long x = 0, y = 0, filtered = 0;
    for (long at = 0; at < pixels; at += PAIR) {
      p.rows = b->narrow + at * b->narrow_pitch;
      multiply(&p, 2, halves, true);
      const long some = MIN(PAIR, pixels - at);
      for (long m = 0, run; m < some; m += run) {
        run = MIN(some - m, b->w - x);
        const float *sum = sums + m * PAIR;
        float *to = planes + ((y & (ring - 1)) * across + pad + x) * SIDE;
        for (long i = 0; i < run; i++) {
          _mm512_store_ps(to + i * SIDE, relu(_mm512_load_ps(sum + i * PAIR) + first));
          if (halves < 2) continue;
          const __m512 other = _mm512_load_ps(sum + i * PAIR + SIDE) + second;
          _mm512_store_ps(to + plane + i * SIDE, relu(other));
        }
        x += run;
        if (x == b->w) x = 0, y++;
      }
      for (; filtered < b->out_h && MIN(filtered * b->stride + pad, b->h - 1) < y; filtered++)
        for (int half = 0; half < halves; half++) {
          const Plane one = {planes + half * plane, ring, across, n + half * SIDE};
          filter(b, &one, filtered, count);
        }
    }
    if (halves == 1) /* what fills up the last tile */
      for (long i = 0; i < b->out_h * b->out_w; i++)
        memset(b->wide + i * b->wide_pitch + n + SIDE, 0, SIDE * sizeof(uint16_t));
  }
  end_tiles();
}

/* Units are pairs of tiles of pixels. */
static void project(const void *job, long begin, long end) {
  const Block *b = job;
  const long pixels = b->out_h * b->out_w;
  float *sums = scratch(3, PAIR * PAIR);
  begin_tiles();
  for (long at = begin * PAIR; at < MIN(end * PAIR, pixels); at += PAIR) {
    Tiles p = pair_of_tiles(b->wide_pitch, sums);
    p.rows = b->wide + at * b->wide_pitch;
    const long count = MIN(PAIR, pixels - at);
    for (long j = 0; j < b->features; j += PAIR) {
      const int halves = j + SIDE < b->features ? 2 : 1;
      p.columns = b->project + j / SIDE * p.next;
      multiply(&p, count > SIDE ? 2 : 1, halves, true);
      for (int half = 0; half < halves; half++) {
        const long n = j + half * SIDE;
        const __mmask16 some = (1u << MIN(SIDE, b->features - n)) - 1;
        const __m512 bias = _mm512_maskz_loadu_ps(some, b->project_bias + n);
        for (long m = 0; m < count; m++) {
          const long to = (at + m) * b->features + n;
          __m512 sum = _mm512_add_ps(_mm512_load_ps(sums + m * PAIR + half * SIDE), bias);
          if (b->shortcut) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(some, b->x + to));
          _mm512_mask_storeu_ps(b->out + to, some, sum);
        }
      }
    }
  }
  end_tiles();
}
#endif

/* (x [1, h, w, channels], expand, its bias, depthwise kernel [size, size, 1, expanded], its bias,
 * project, its bias) -> out [1, out_h, out_w, features]; both dense kernels are tiles. The caller
 * checks shapes: `expanded` is a multiple of 16, others of 8. */
EXPORT XLA_FFI_Error *segjax_inverted_residual(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
#ifdef __AVX512BF16__
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args, *out = frame->rets.rets[0];
  Block b = {.x = args[0]->data,
             .expand = args[1]->data,
             .expand_bias = args[2]->data,
             .kernel = args[3]->data,
             .kernel_bias = args[4]->data,
             .project = args[5]->data,
             .project_bias = args[6]->data,
             .out = out->data,
             .h = args[0]->dims[1],
             .w = args[0]->dims[2],
             .channels = args[0]->dims[3],
             .expanded = args[3]->dims[3],
             .out_h = out->dims[1],
             .out_w = out->dims[2],
             .features = out->dims[3],
             .size = args[3]->dims[0],
             .stride = attribute(frame, "stride"),
             .shortcut = attribute(frame, "shortcut")};
  b.narrow_pitch = padded(b.channels, DEPTH), b.wide_pitch = padded(b.expanded, DEPTH);
  b.narrow = (uint16_t *)scratch(0, padded(b.h * b.w, PAIR) * b.narrow_pitch / 2);
  b.wide = (uint16_t *)scratch(1, padded(b.out_h * b.out_w, PAIR) * b.wide_pitch / 2);
  narrow_down(&b);
  share(frame, expand_and_filter, &b, (b.expanded + PAIR - 1) / PAIR, FEW);
  share(frame, project, &b, (b.out_h * b.out_w + PAIR - 1) / PAIR, FEW);
#endif
  return NULL;
}
