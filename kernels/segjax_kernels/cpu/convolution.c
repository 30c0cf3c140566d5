/* Convolutions of one picture on a CPU.
 *
 * float32 NHWC maps and HWIO kernels, as the network has them. Where AMX multiplies bfloat16 and
 * that is wanted, all dense ones are products of its tiles; else there are three forms:
 *   - 3x3 of stride 1: Winograd's F(4x4, 3x3) (Lavin and Gray, 2016), a quarter of the products;
 *   - every other dense one: a direct convolution on a tile of pixels x channels in registers, in
 *     bfloat16 where that is wanted and the processor multiplies it;
 *   - depthwise: a vector of channels at a time, whose rows then lie in the nearest cache.
 * Vectors are GCC's and Clang's; LANES and PIXELS fit the registers of what -march=native gives.
 */
#include "tiles.h"

#if defined(__AVX512F__)
enum { LANES = 16, PIXELS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, PIXELS = 4 };
#else
enum { LANES = 4, PIXELS = 8 };
#endif
enum { NARROW = LANES < 8 ? LANES : 8, BLOCK = 8, CELLS = 36, ROW = 4 * PIXELS };

typedef float wide __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float narrow __attribute__((vector_size(4 * NARROW), aligned(4)));

/* Not NaN to 0: a broken mask must be seen to be one. */
#define RELU(x) ((__typeof__(x))((__typeof__((x) < 0))(x) & ~((x) < 0)))

/* --- the tile ------------------------------------------------------------------------------ */

/* Pixels x channels of a product. A pixel is the sum over `rows` runs of `run` numbers, which lie
 * `row` apart in the map and one behind the other in `kernel`; pixels lie `pixel` apart. */
typedef struct {
  const float *in;
  long pixel, row, rows, run;
  const float *kernel;
  long features;
  const float *bias, *add; /* or NULL */
  float *out;
  bool relu;
} Product;

#define DEFINE_TILE(NAME, VECTOR, COUNT, VECTORS, ADD_PRODUCT)                             \
  static void NAME(const Product *restrict p) {                                            \
    enum { SIZE = sizeof(VECTOR) / sizeof(float) };                                        \
    VECTOR sums[COUNT][VECTORS];                                                           \
    UNROLL for (int v = 0; v < VECTORS; v++) {                                             \
      VECTOR start = {0};                                                                  \
      if (p->bias) start = *(const VECTOR *)(p->bias + v * SIZE);                          \
      UNROLL for (int m = 0; m < COUNT; m++) sums[m][v] = start;                           \
    }                                                                                      \
    const float *kernel = p->kernel;                                                       \
    const long pixel = p->pixel, features = p->features, run = p->run;                     \
    for (long y = 0; y < p->rows; y++) {                                                   \
      const float *in = p->in + y * p->row, *in4 = in + 4 * pixel;                         \
      for (long c = 0; c < run; c++, in++, in4++, kernel += features) {                    \
        VECTOR weights[VECTORS];                                                           \
        UNROLL for (int v = 0; v < VECTORS; v++)                                           \
          weights[v] = *(const VECTOR *)(kernel + v * SIZE);                               \
        UNROLL for (int m = 0; m < COUNT; m++) {                                           \
          const float x = m < 4 ? in[m * pixel] : in4[(m - 4) * pixel];                    \
          UNROLL for (int v = 0; v < VECTORS; v++) ADD_PRODUCT(sums[m][v], weights[v], x); \
        }                                                                                  \
      }                                                                                    \
    }                                                                                      \
    UNROLL for (int m = 0; m < COUNT; m++) UNROLL for (int v = 0; v < VECTORS; v++) {      \
      const long at = m * features + v * SIZE;                                             \
      VECTOR sum = sums[m][v];                                                             \
      if (p->add) sum += *(const VECTOR *)(p->add + at);                                   \
      if (p->relu) sum = RELU(sum);                                                        \
      *(VECTOR *)(p->out + at) = sum;                                                      \
    }                                                                                      \
  }

#define FLOATS(sum, weights, x) sum += weights * x
DEFINE_TILE(tile3, wide, PIXELS, 3, FLOATS)
DEFINE_TILE(tile2, wide, PIXELS, 2, FLOATS)
DEFINE_TILE(tile1, wide, PIXELS, 1, FLOATS)
DEFINE_TILE(tile_narrow3, narrow, PIXELS, 3, FLOATS)
DEFINE_TILE(tile_narrow, narrow, PIXELS, 1, FLOATS)
DEFINE_TILE(pixel1, narrow, 1, 1, FLOATS)

/* With bfloat16 a "number" is the pair of two channels: as wide as a float, two products each. */
#ifdef __AVX512BF16__
EXPORT const int segjax_pairs = true;
#define PAIRS16(sum, weights, x) \
  sum = (wide)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)_mm512_set1_ps(x))
#define PAIRS8(sum, weights, x) \
  sum = (narrow)_mm256_dpbf16_ps((__m256)sum, (__m256bh)weights, (__m256bh)_mm256_set1_ps(x))
#else
EXPORT const int segjax_pairs = false;
#define PAIRS16 FLOATS
#define PAIRS8 FLOATS
#endif
DEFINE_TILE(pairs3, wide, PIXELS, 3, PAIRS16)
DEFINE_TILE(pairs2, wide, PIXELS, 2, PAIRS16)
DEFINE_TILE(pairs1, wide, PIXELS, 1, PAIRS16)
DEFINE_TILE(pairs_narrow3, narrow, PIXELS, 3, PAIRS8)
DEFINE_TILE(pairs_narrow, narrow, PIXELS, 1, PAIRS8)
DEFINE_TILE(pairs_pixel1, narrow, 1, 1, PAIRS8)

/* Channels that the next tile takes of those left, a multiple of 8. */
static long panel(long left) {
  for (long vectors = 3; vectors > 1; vectors--)
    if (left % (vectors * LANES) == 0) return vectors * LANES;
  if (left % (3 * NARROW) == 0) return 3 * NARROW;
  return left >= LANES ? LANES : NARROW;
}

typedef void Tile(const Product *);

static Tile *tile_of(long width, bool pairs) {
  if (width == 3 * LANES) return pairs ? pairs3 : tile3;
  if (width == 2 * LANES) return pairs ? pairs2 : tile2;
  if (width == LANES) return pairs ? pairs1 : tile1;
  if (width == 3 * NARROW) return pairs ? pairs_narrow3 : tile_narrow3;
  return pairs ? pairs_narrow : tile_narrow;
}

/* A row of `count` pixels; the last tile overlaps the one before. */
static void row_of_tiles(const Product *whole, long count, long width, bool pairs) {
  Tile *tile = tile_of(width, pairs), *single = pairs ? pairs_pixel1 : pixel1;
  Product p = *whole;
  for (long x = 0; x < count; x += PIXELS) {
    const long at = count >= PIXELS ? MIN(x, count - PIXELS) : x;
    p.in = whole->in + at * whole->pixel;
    p.out = whole->out + at * whole->features;
    if (whole->add) p.add = whole->add + at * whole->features;
    if (count >= PIXELS) {
      tile(&p);
      continue;
    }
    for (long m = 0; m < count; m++)
      for (long n = 0; n < width; n += NARROW) {
        Product one = p;
        one.in += m * p.pixel;
        one.kernel += n;
        one.out += m * p.features + n;
        if (one.bias) one.bias += n;
        if (one.add) one.add += m * p.features + n;
        single(&one);
      }
  }
}

/* --- dense convolutions -------------------------------------------------------------------- */

typedef struct {
  const float *x, *kernel, *bias, *add;
  float *out;
  long h, w, channels, out_h, out_w, features, size, stride, dilation;
  long pixels, pixels_in; /* of the result and the map, whose last rows may be shorter */
  bool relu, pairs;
} Conv;

/* A float's bits, whose upper half is the nearest bfloat16. */
static inline uint32_t nearest(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits + 0x7fff + (bits >> 16 & 1);
}

/* The rows of the map under a row of the result, with the edges' zeros. */
static void fill_patch(float *patch, const Conv *c, long top, long reach) {
  const long pad = (c->size - 1) / 2, count = MIN(c->w, reach - pad) * c->channels;
  memset(patch, 0, c->size * reach * c->channels * sizeof(float));
  for (long r = 0; r < c->size; r++) {
    if (top + r < 0 || top + r >= c->h) continue;
    const float *from = c->x + (top + r) * c->w * c->channels;
    const long at = (r * reach + pad) * c->channels;
    uint16_t *halves = (uint16_t *)patch + at;
    if (!c->pairs)
      memcpy(patch + at, from, count * sizeof(float));
    else
      for (long i = 0; i < count; i++) halves[i] = nearest(from[i]) >> 16;
  }
}

/* Units are rows of the result. */
static void direct(const void *job, long begin, long end) {
  const Conv *c = job;
  const long pad = (c->size - 1) / 2, channels = c->pairs ? c->channels / 2 : c->channels;
  float *patch = scratch(0, c->size * (c->out_w * c->stride + c->size) * c->channels);
  for (long y = begin; y < end; y++) {
    const long count = MIN(c->out_w, c->pixels - y * c->out_w);
    const long reach = (count - 1) * c->stride + c->size;
    const bool in_place = !pad && !c->pairs;
    if (!in_place) fill_patch(patch, c, y * c->stride - pad, reach);
    for (long n = 0, width; n < c->features; n += width) {
      width = panel(c->features - n);
      const long at = y * c->out_w * c->features + n;
      const Product p = {.in = in_place ? c->x + y * c->stride * c->w * channels : patch,
                         .pixel = c->stride * channels,
                         .row = reach * channels,
                         .rows = c->size,
                         .run = c->size * channels,
                         .kernel = c->kernel + n,
                         .features = c->features,
                         .bias = c->bias + n,
                         .add = c->add ? c->add + at : NULL,
                         .out = c->out + at,
                         .relu = c->relu};
      row_of_tiles(&p, count, width, c->pairs);
    }
  }
}

static inline __attribute__((always_inline)) void mix6(narrow d[6], long step) {
  const narrow d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step],
               d5 = d[5 * step];
  const narrow even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1);
  d[0] = 4 * d0 - 5 * d2 + d4;
  d[step] = even + odd;
  d[2 * step] = even - odd;
  d[3 * step] = near + far;
  d[4 * step] = near - far;
  d[5 * step] = 4 * d1 - 5 * d3 + d5;
}

static inline __attribute__((always_inline)) void unmix6(narrow m[6], long step) {
  const narrow sum = m[step] + m[2 * step], difference = m[step] - m[2 * step],
               sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
  m[0] = m[0] + sum + sum2;
  m[step] = difference + 2 * difference2;
  m[2 * step] = sum + 4 * sum2;
  m[3 * step] = difference + 8 * difference2 + m[5 * step];
}

static const float nothing[4096];

/* Units are PIXELS tiles of 4x4 pixels. */
static void winograd(const void *job, long begin, long end) {
  const Conv *c = job;
  const long across = (c->w + 3) / 4, tiles = across * ((c->h + 3) / 4);
  float *mixed = scratch(0, CELLS * BLOCK * (c->channels + c->features));
  float *products = mixed + CELLS * BLOCK * c->channels;
  const long last = MIN(end * PIXELS, tiles);
  for (long first = begin * PIXELS; first < last; first += BLOCK) {
    const long count = MIN(BLOCK, last - first);
    for (long t = 0; t < count; t++) {
      const long top = (first + t) / across * 4 - 1, left = (first + t) % across * 4 - 1;
      const float *cells[CELLS];
      for (long y = 0; y < 6; y++)
        for (long x = 0; x < 6; x++) {
          const bool inside = (unsigned long)(top + y) < (unsigned long)c->h &&
                              (unsigned long)(left + x) < (unsigned long)c->w;
          cells[y * 6 + x] = inside ? c->x + ((top + y) * c->w + left + x) * c->channels : nothing;
        }
      for (long n = 0; n < c->channels; n += NARROW) {
        narrow d[CELLS];
        UNROLL for (int x = 0; x < 6; x++) {
          UNROLL for (int y = 0; y < 6; y++) d[y * 6 + x] = *(const narrow *)(cells[y * 6 + x] + n);
          mix6(d + x, 6);
        }
        UNROLL for (int y = 0; y < 6; y++) {
          mix6(d + y * 6, 1);
          UNROLL for (int x = 0; x < 6; x++)
            *(narrow *)(mixed + ((y * 6 + x) * BLOCK + t) * c->channels + n) = d[y * 6 + x];
        }
      }
    }
    const long whole = (count + PIXELS - 1) / PIXELS * PIXELS;
    for (long cell = 0; cell < CELLS; cell++)
      for (long n = 0, width; n < c->features; n += width) {
        width = panel(c->features - n);
        Product p = {.in = mixed + cell * BLOCK * c->channels,
                     .pixel = c->channels,
                     .rows = 1,
                     .run = c->channels,
                     .kernel = c->kernel + cell * c->channels * c->features + n,
                     .features = c->features,
                     .out = products + cell * BLOCK * c->features + n};
        row_of_tiles(&p, whole, width, false);
      }
    for (long t = 0; t < count; t++) {
      const long top = (first + t) / across * 4, left = (first + t) % across * 4;
      for (long n = 0; n < c->features; n += NARROW) {
        narrow m[CELLS];
        UNROLL for (int x = 0; x < 6; x++) {
          UNROLL for (int y = 0; y < 6; y++) m[y * 6 + x] =
              *(const narrow *)(products + ((y * 6 + x) * BLOCK + t) * c->features + n);
          unmix6(m + x, 6);
        }
        const narrow bias = *(const narrow *)(c->bias + n);
        UNROLL for (int y = 0; y < 4; y++) {
          unmix6(m + y * 6, 1);
          if (top + y >= c->h) continue;
          UNROLL for (int x = 0; x < 4; x++) {
            if (left + x >= c->w) continue;
            const long at = ((top + y) * c->w + left + x) * c->features + n;
            narrow sum = m[y * 6 + x] + bias;
            if (c->add) sum += *(const narrow *)(c->add + at);
            if (c->relu) sum = RELU(sum);
            *(narrow *)(c->out + at) = sum;
          }
        }
      }
    }
  }
}

/* --- by tiles of AMX ----------------------------------------------------------------------- */

enum { GROUP = 4, STRIP = 128 }; /* rows of a unit, pixels of a row where one is as good as another */

#ifdef __AVX512BF16__

/* The rows of the map under a unit, a row's end being the next one's begin: one run of zeros is for
 * both. `slack` numbers behind them are read, too, and count for nothing, but must be some. */
static void fill_group(uint16_t *patch, const Conv *c, long top, long rows, long slack) {
  const long pad = (c->size - 1) / 2 * c->channels, pitch = c->w * c->channels + pad;
  for (long r = 0; r < rows; r++, patch += pitch) {
    const long y = top + r, inside = MIN(c->w, c->pixels_in - y * c->w) * c->channels;
    const long count = y < 0 || inside < 0 ? 0 : inside;
    const float *from = c->x + y * c->w * c->channels;
    memset(patch, 0, pad * sizeof *patch);
    long i = 0;
    for (; i + SIDE <= count; i += SIDE)
      _mm256_storeu_si256((__m256i *)(patch + pad + i), rounded(from + i));
    for (; i < count; i++) patch[pad + i] = nearest(from[i]) >> 16;
    memset(patch + pad + i, 0, (pitch - pad - i) * sizeof *patch);
  }
  memset(patch, 0, (pad + slack) * sizeof *patch);
}

/* Sums become results, `count` pixels of them from number `at` of a unit's `run` on. */
static void give(const Conv *c, const float *sums, long top, long width, long at, long count, long j,
                 int across) {
  const bool two = across > 1;
  const __mmask16 first = (1u << MIN(SIDE, c->features - j)) - 1;
  const __mmask16 second = two ? (1u << MIN(SIDE, c->features - j - SIDE)) - 1 : 0;
  const __m512 bias[] = {_mm512_maskz_loadu_ps(first, c->bias + j),
                         _mm512_maskz_loadu_ps(second, c->bias + j + SIDE)};
  const float *const add = c->add; /* known not to change with what is written */
  float *const out = c->out;
  const long features = c->features, out_w = c->out_w, pixels = c->pixels;
  const bool relu = c->relu;
  long x = at % width, row = (top + at / width) * out_w;
  for (long m = 0; m < count; m++) {
    const long to = (row + x) * features + j;
    if (x < out_w && row + x < pixels) {
      UNROLL for (int half = 0; half < 2; half++) {
        const __mmask16 some = half ? second : first;
        __m512 sum = _mm512_load_ps(sums + (2 * m + half) * SIDE) + bias[half];
        if (add) sum += _mm512_maskz_loadu_ps(some, add + to + half * SIDE);
        if (relu) sum = (__m512)RELU((wide)sum);
        _mm512_mask_storeu_ps(out + to + half * SIDE, some, sum);
      }
    }
    if (++x == width) x = 0, row += out_w;
  }
}

/* Units are groups of rows of the result. */
static void by_tiles(const void *job, long begin, long end) {
  const Conv *c = job;
  const long pad = (c->size - 1) / 2, pitch = c->w + pad, stride = c->stride;
  const long steps = (c->size * c->channels + DEPTH - 1) / DEPTH;
  const long rows_in = (GROUP - 1) * stride + c->size;
  const long slack = (2 * SIDE * stride + c->size) * c->channels + DEPTH;
  uint16_t *patch = (uint16_t *)scratch(0, (rows_in * pitch + pad) * c->channels + slack);
  float *sums = scratch(1, 4 * SIDE * SIDE);
  begin_tiles();
  for (long unit = begin; unit < end; unit++) {
    const long top = unit * GROUP, rows = MIN(GROUP, c->out_h - top);
    fill_group(patch, c, top * stride - pad, (rows - 1) * stride + c->size, slack);
    /* With a stride of 1 the rows are one run of results, a few of them between two rows. */
    const long runs = stride == 1 ? 1 : rows, width = stride == 1 ? pitch : c->out_w;
    const long length = stride == 1 ? (rows - 1) * pitch + c->out_w : c->out_w;
    for (long j = 0; j < c->features; j += 2 * SIDE) {
      const int across = j + SIDE < c->features ? 2 : 1;
      Tiles p = {.pitch = stride * c->channels,
                 .below = SIDE * stride * c->channels,
                 .row = pitch * c->channels,
                 .next = c->size * steps * TILE,
                 .runs = c->size,
                 .steps = steps,
                 .sums = sums,
                 .width = 2 * SIDE,
                 .fresh = true};
      p.columns = (const uint16_t *)c->kernel + j / SIDE * p.next;
      for (long run = 0; run < runs; run++)
        for (long at = 0; at < length; at += 2 * SIDE) {
          p.rows = patch + (run * pitch + at) * stride * c->channels;
          multiply(&p, length - at > SIDE ? 2 : 1, across, true);
          give(c, sums, top + run, width, at, MIN(2 * SIDE, length - at), j, across);
        }
    }
  }
  end_tiles();
}
#else
static void by_tiles(const void *job, long begin, long end) {}
#endif

/* --- depthwise ----------------------------------------------------------------------------- */

enum { MORE = PIXELS * 5 / 4, MOST = PIXELS * 3 / 2 };

/* `count` neighbours of a row of the result, a vector of channels each. With `dense` taps, which have
 * no gaps, each number of the map is loaded once for a row of the kernel. */
static inline __attribute__((always_inline)) void neighbours(const Conv *c, long n, long y, long x,
                                                             const int count, const int size,
                                                             const int stride, const bool dense) {
  const long pad = (size - 1) / 2 * c->dilation, left = x * stride - pad;
  wide sums[MOST];
  UNROLL for (int m = 0; m < count; m++) sums[m] = *(const wide *)(c->bias + n);
  for (int ky = 0; ky < size; ky++) {
    const long row = y * stride - pad + ky * c->dilation;
    if (row < 0 || row >= c->h) continue;
    const float *kernel = c->kernel + ky * size * c->channels + n;
    const long first = (row * c->w + left) * c->channels + n; /* may lie before the map */
#define INSIDE(i) ((unsigned long)(left + (i)) < (unsigned long)c->w)
#define NUMBER(i) *(const wide *)(INSIDE(i) ? c->x + (first + (i) * c->channels) : nothing)
    if (dense) {
      wide taps[5];
      UNROLL for (int kx = 0; kx < size; kx++) taps[kx] = *(const wide *)(kernel + kx * c->channels);
      UNROLL for (int i = 0; i < (count - 1) * stride + size; i++) {
        const wide number = NUMBER(i);
        UNROLL for (int kx = i % stride; kx < size; kx += stride)
          if (kx <= i && (i - kx) / stride < count) sums[(i - kx) / stride] += taps[kx] * number;
      }
    } else {
      for (int kx = 0; kx < size; kx++) {
        const wide tap = *(const wide *)(kernel + kx * c->channels);
        UNROLL for (int m = 0; m < count; m++) sums[m] += tap * NUMBER(m * stride + kx * c->dilation);
      }
    }
  }
  float *out = c->out + (y * c->out_w + x) * c->channels + n;
  UNROLL for (int m = 0; m < count; m++)
    if (x + m < c->out_w) *(wide *)(out + m * c->channels) = c->relu ? RELU(sums[m]) : sums[m];
}

/* Units are vectors of channels. */
static void depthwise(const void *job, long begin, long end) {
  const Conv local = *(const Conv *)job, *c = &local;
  /* The compiler knows the usual kernels, and three counts: that one which wastes least of a row. */
  const bool usual = c->dilation == 1 && c->stride <= 2 && (c->size == 3 || c->size == 5);
  int count = PIXELS;
  for (int more = PIXELS; usual && more <= MOST; more += MORE - PIXELS)
    if ((c->out_w + more - 1) / more * more <= (c->out_w + count - 1) / count * count) count = more;
  const int kind = usual ? count * 100 + c->size * 10 + c->stride : 0;
  for (long n = begin * LANES; n < end * LANES; n += LANES)
    for (long y = 0; y < c->out_h; y++)
      for (long x = 0; x < c->out_w; x += count) switch (kind) {
#define KIND(COUNT, SIZE, STRIDE) \
  case COUNT * 100 + SIZE * 10 + STRIDE: neighbours(c, n, y, x, COUNT, SIZE, STRIDE, true); break;
#define KINDS(COUNT) KIND(COUNT, 3, 1) KIND(COUNT, 5, 1) KIND(COUNT, 3, 2) KIND(COUNT, 5, 2)
          KINDS(PIXELS)
          KINDS(MORE)
          KINDS(MOST)
          default: neighbours(c, n, y, x, PIXELS, c->size, c->stride, false);
        }
}

/* --- XLA's side ---------------------------------------------------------------------------- */

enum { DIRECT, PAIRS, WINOGRAD, DEPTHWISE, TILES }; /* forms, as the caller numbers them */

/* (x [1, h, w, channels], kernel, bias[, add]) -> out [1, out_h, out_w, features]. The kernel is
 * laid out for its form. The caller checks shapes; every number of channels is a multiple of 8. */
EXPORT XLA_FFI_Error *segjax_convolution(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args, *out = frame->rets.rets[0];
  const long form = attribute(frame, "form");
  Conv c = {.x = args[0]->data,
            .kernel = args[1]->data,
            .bias = args[2]->data,
            .add = frame->args.size > 3 ? args[3]->data : NULL,
            .out = out->data,
            .h = args[0]->dims[1],
            .w = args[0]->dims[2],
            .channels = args[0]->dims[3],
            .out_h = out->dims[1],
            .out_w = out->dims[2],
            .features = out->dims[3],
            .size = attribute(frame, "size"),
            .stride = attribute(frame, "stride"),
            .dilation = attribute(frame, "dilation"),
            .relu = attribute(frame, "relu"),
            .pairs = form == PAIRS};
  if (form == DEPTHWISE) {
    share(frame, depthwise, &c, c.channels / LANES, FEW);
  } else if (form == WINOGRAD) {
    const long tiles = (c.w + 3) / 4 * ((c.h + 3) / 4);
    share(frame, winograd, &c, (tiles + PIXELS - 1) / PIXELS, FEW);
  } else {
    c.pixels = c.out_h * c.out_w, c.pixels_in = c.h * c.w;
    if (c.size == 1 && c.stride == 1) { /* other rows are as good, and fill the tiles */
      c.w = c.out_w = form == TILES ? STRIP : ROW;
      c.h = c.out_h = (c.pixels + c.w - 1) / c.w;
    }
    if (form == TILES)
      share(frame, by_tiles, &c, (c.out_h + GROUP - 1) / GROUP, FEW);
    else
      share(frame, direct, &c, c.out_h, FEW);
  }
  return NULL;
}
