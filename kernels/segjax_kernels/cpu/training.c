/* A batch's convolutions of stride 1 and the gradients of their kernels: what training on a CPU
 * takes most of its time for. float32 NHWC maps and HWIO kernels.
 *
 * Dense ones round numbers to bfloat16 and sum their products in float32. They are matrix products
 * of maps laid flat: with zeros around them, one row of pixels behind the other, the pixels under
 * one tap of a kernel lie equally far from those of the result, however long the run. The few
 * results between two rows belong to nobody.
 *
 * Depthwise ones take a vector of channels at a time, in float32.
 */
#include "tiles.h"

typedef struct {
  const float *x, *dy;
  const uint16_t *kernel; /* as tiles */
  float *out, *each;      /* each: kernels, one for each picture */
  long count, h, w, channels, features, size, dilation;
  bool dense, amx;
} Batch;

static long pad_of(const Batch *b) { return (b->size - 1) / 2 * b->dilation; }

/* A row's end is as good as the next one's begin: one run of zeros is for both. */
static long pitch_of(const Batch *b) { return b->w + pad_of(b); }

/* Results, those between two rows among them. */
static long length_of(const Batch *b) { return (b->h - 1) * pitch_of(b) + b->w; }

/* How far the pixel under the last tap lies behind that under the first. */
static long reach_of(const Batch *b) { return (b->size - 1) * b->dilation * (pitch_of(b) + 1); }

static long up(long number, long to) { return (number + to - 1) / to * to; }

#ifdef __AVX512BF16__
/* Lays a picture's map flat, `pixels` of them, the first at the first tap of the first result. */
static void lay_flat(const Batch *b, const float *x, uint16_t *flat, long pixels) {
  const long pad = pad_of(b), pitch = pitch_of(b), c = b->channels;
  memset(flat, 0, pixels * c * sizeof *flat);
  for (long y = 0; y < b->h; y++) {
    uint16_t *to = flat + ((pad + y) * pitch + pad) * c;
    const float *from = x + y * b->w * c;
    for (long i = 0; i < b->w * c; i += SIDE)
      _mm256_storeu_si256((__m256i *)(to + i), rounded(from + i));
  }
}

/* --- the convolution ----------------------------------------------------------------------- */

/* Taps whose channels lie one behind the other in a map are one run of numbers. */
static long run_of(const Batch *b) {
  return b->dilation == 1 ? b->size * b->channels : b->channels;
}

static long runs_of(const Batch *b) { return b->size * b->size * b->channels / run_of(b); }

static inline uint16_t rounded_one(float x) {
  return (uint16_t)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(x)), 0);
}

/* The kernel as tiles of columns, [feature / 16][run][step][pair][16][2], a run's end filled up by
 * 0: numbers that the map holds there do not count. Runs go down one column of taps after the other. */
static void lay_kernel(const Batch *b, const float *kernel, uint16_t *tiles) {
  const long run = run_of(b), steps = up(run, DEPTH) / DEPTH, n = b->features;
  for (long block = 0; block < n / SIDE; block++)
    for (long r = 0; r < runs_of(b); r++)
      for (long k = 0; k < steps * DEPTH; k++)
        for (long j = 0; j < SIDE; j++) {
          const long tile = (block * runs_of(b) + r) * steps + k / DEPTH, pair = k % DEPTH / 2;
          const long from = r % b->size * (runs_of(b) / b->size) + r / b->size;
          tiles[tile * TILE + (pair * SIDE + j) * 2 + k % 2] =
              k < run ? rounded_one(kernel[(from * run + k) * n + block * SIDE + j]) : 0;
        }
}

/* Units are pictures. */
static void convolve(const void *job, long begin, long end) {
  const Batch *b = job;
  const long pitch = pitch_of(b), length = length_of(b), c = b->channels, n = b->features;
  const long run = run_of(b), runs = runs_of(b), steps = up(run, DEPTH) / DEPTH;
  const long pixels = up(length, 2 * SIDE) + reach_of(b) + up(DEPTH, c) / c;
  uint16_t *flat = (uint16_t *)scratch(0, pixels * c / 2 + 1);
  float *sums = scratch(1, 4 * SIDE * SIDE);
  if (b->amx) begin_tiles();
  for (long picture = begin; picture < end; picture++) {
    lay_flat(b, b->x + picture * b->h * b->w * c, flat, pixels);
    float *out = b->out + picture * b->h * b->w * n;
    for (long j = 0; j < n; j += 2 * SIDE) {
      const int across = j + SIDE < n ? 2 : 1;
      for (long at = 0; at < length; at += 2 * SIDE) {
        Tiles p = {.pitch = c, .below = SIDE * c, .row = b->dilation * pitch * c,
                   .next = runs * steps * TILE, .runs = b->size, .steps = steps,
                   .sums = sums, .width = 2 * SIDE, .fresh = true};
        /* A run down each column of taps, or, where they lie side by side, one down all. */
        for (long x = 0; x < runs / b->size; x++) {
          p.rows = flat + (at + x * b->dilation) * c;
          p.columns = b->kernel + j / SIDE * p.next + x * b->size * steps * TILE;
          multiply(&p, 2, across, b->amx);
          p.fresh = false;
        }
        for (long m = 0; m < MIN(2 * SIDE, length - at); m++) {
          const long y = (at + m) / pitch, x = (at + m) % pitch;
          if (x >= b->w) continue;
          memcpy(out + (y * b->w + x) * n + j, sums + 2 * m * SIDE, across * SIDE * sizeof *out);
        }
      }
    }
  }
  if (b->amx) end_tiles();
}

/* --- the kernel's gradient ----------------------------------------------------------------- */

/* Pixels whose products are added up before those of the next channels, in the nearest cache. */
enum { STRETCH = 2048 };

/* [pixels][channels] → [channels][pixels], both whole multiples of 16. */
static void turn(const uint16_t *flat, uint16_t *turned, long pixels, long channels) {
  for (long c = 0; c < channels; c += SIDE)
    for (long p = 0; p < pixels; p += SIDE)
      for (long i = 0; i < SIDE; i++)
        UNROLL for (long j = 0; j < SIDE; j++)
          turned[(c + i) * pixels + p + j] = flat[(p + j) * channels + c + i];
}

/* The result's gradient as tiles of columns, [feature / 16][pixel / 32][pair][16][2], with zeros
 * for what lies between two rows. */
static void lay_gradient(const Batch *b, const float *dy, uint16_t *tiles, long pixels) {
  const long pitch = pitch_of(b), n = b->features;
  memset(tiles, 0, pixels * n * sizeof *tiles);
  for (long y = 0; y < b->h; y++)
    for (long x = 0; x < b->w; x++) {
      const long at = y * pitch + x;
      uint16_t *to = tiles + at / DEPTH * TILE + at % DEPTH / 2 * 2 * SIDE + at % 2;
      const float *from = dy + (y * b->w + x) * n;
      for (long j = 0; j < n; j += SIDE, to += pixels * SIDE) {
        uint16_t row[SIDE];
        _mm256_storeu_si256((__m256i *)row, rounded(from + j));
        UNROLL for (long i = 0; i < SIDE; i++) to[2 * i] = row[i];
      }
    }
}

/* Units are pictures. */
static void differentiate(const void *job, long begin, long end) {
  const Batch *b = job;
  const long pitch = pitch_of(b), c = b->channels, n = b->features, taps = b->size * b->size;
  const long pixels = up(length_of(b), DEPTH), before = up(pixels + reach_of(b), SIDE);
  uint16_t *flat = (uint16_t *)scratch(0, before * c / 2);
  uint16_t *turned = (uint16_t *)scratch(1, before * c / 2);
  uint16_t *tiles = (uint16_t *)scratch(2, pixels * n / 2);
  if (b->amx) begin_tiles();
  for (long picture = begin; picture < end; picture++) {
    lay_flat(b, b->x + picture * b->h * b->w * c, flat, before);
    turn(flat, turned, before, c);
    lay_gradient(b, b->dy + picture * b->h * b->w * n, tiles, pixels);
    float *sums = b->each + picture * taps * c * n;
    memset(sums, 0, taps * c * n * sizeof *sums);
    for (long at = 0; at < pixels; at += STRETCH)
      for (long tap = 0; tap < taps; tap++)
        for (long i = 0; i < c; i += 2 * SIDE)
          for (long j = 0; j < n; j += 2 * SIDE) {
            const long there = (tap / b->size * pitch + tap % b->size) * b->dilation;
            const Tiles p = {.rows = turned + i * before + at + there,
                               .columns = tiles + j * pixels + at * SIDE,
                               .pitch = before,
                               .below = SIDE * before,
                               .next = SIDE * pixels,
                               .runs = 1,
                               .steps = MIN(STRETCH, pixels - at) / DEPTH,
                               .sums = sums + (tap * c + i) * n + j,
                               .width = n};
            multiply(&p, i + SIDE < c ? 2 : 1, j + SIDE < n ? 2 : 1, b->amx);
          }
  }
  if (b->amx) end_tiles();
}

/* --- depthwise ----------------------------------------------------------------------------- */

enum { PIXELS = 8 }; /* of which the sums are in registers */

static long padded_width(const Batch *b) { return up(b->w, PIXELS) + 2 * pad_of(b); }

/* A vector of channels of a picture, with zeros around it. */
static const float *one_vector(const Batch *b, const float *x) {
  const long pad = pad_of(b), width = padded_width(b), size = (b->h + 2 * pad) * width * SIDE;
  float *map = scratch(0, size);
  memset(map, 0, size * sizeof *map);
  for (long y = 0; y < b->h; y++)
    for (long i = 0; i < b->w; i++)
      memcpy(map + ((pad + y) * width + pad + i) * SIDE, x + (y * b->w + i) * b->channels,
             SIDE * sizeof *map);
  return map;
}

/* Units are pictures' vectors of channels. `dy` is the kernel. */
static void convolve_depthwise(const void *job, long begin, long end) {
  const Batch *b = job;
  const long c = b->channels, width = padded_width(b);
  for (long unit = begin; unit < end; unit++) {
    const long n = unit % (c / SIDE) * SIDE, picture = unit / (c / SIDE) * b->h * b->w * c + n;
    const float *map = one_vector(b, b->x + picture);
    for (long y = 0; y < b->h; y++)
      for (long x = 0; x < b->w; x += PIXELS) {
        __m512 sums[PIXELS] = {0};
        for (long tap = 0; tap < b->size * b->size; tap++) {
          const long row = y + tap / b->size * b->dilation, at = x + tap % b->size * b->dilation;
          const __m512 weight = _mm512_loadu_ps(b->dy + tap * c + n);
          UNROLL for (int m = 0; m < PIXELS; m++)
            sums[m] += weight * _mm512_load_ps(map + (row * width + at + m) * SIDE);
        }
        UNROLL for (int m = 0; m < PIXELS; m++)
          if (x + m < b->w) _mm512_storeu_ps(b->out + picture + (y * b->w + x + m) * c, sums[m]);
      }
  }
}

/* Inlined, so that of the usual sides the sums stay in registers. */
static inline __attribute__((always_inline)) void products_of_taps(
    const Batch *b, const float *map, const float *dy, float *out, const long side) {
  const long width = padded_width(b), c = b->channels, dilation = b->dilation;
  __m512 sums[side * side];
  for (long tap = 0; tap < side * side; tap++) sums[tap] = _mm512_setzero_ps();
  for (long y = 0; y < b->h; y++)
    for (long x = 0; x < b->w; x++) {
      const __m512 given = _mm512_loadu_ps(dy + (y * b->w + x) * c);
      const float *under = map + (y * width + x) * SIDE;
      UNROLL for (long i = 0; i < side; i++) UNROLL for (long j = 0; j < side; j++)
        sums[i * side + j] += given * _mm512_load_ps(under + (i * width + j) * dilation * SIDE);
    }
  for (long tap = 0; tap < side * side; tap++) _mm512_storeu_ps(out + tap * c, sums[tap]);
}

/* Units are pictures' vectors of channels. */
static void differentiate_depthwise(const void *job, long begin, long end) {
  const Batch *b = job;
  const long c = b->channels;
  for (long unit = begin; unit < end; unit++) {
    const long n = unit % (c / SIDE) * SIDE, number = unit / (c / SIDE);
    const long picture = number * b->h * b->w * c + n;
    const float *map = one_vector(b, b->x + picture), *dy = b->dy + picture;
    float *out = b->each + number * b->size * b->size * c + n;
#define PRODUCTS(side) products_of_taps(b, map, dy, out, side)
    FOR_SIDE(b->size, PRODUCTS)
  }
}

/* Units are vectors of the kernel. In the pictures' order, so that threads change nothing. */
static void add_up(const void *job, long begin, long end) {
  const Batch *b = job;
  const long step = b->size * b->size * (b->dense ? b->channels : 1) * b->features;
  for (long at = begin * SIDE; at < end * SIDE; at += SIDE) {
    __m512 sum = _mm512_setzero_ps();
    for (long picture = 0; picture < b->count; picture++)
      sum += _mm512_loadu_ps(b->each + picture * step + at);
    _mm512_storeu_ps(b->out + at, sum);
  }
}

/* --- XLA's side ---------------------------------------------------------------------------- */

static Batch batch_of(XLA_FFI_CallFrame *frame) {
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args;
  return (Batch){.x = args[0]->data,
                 .count = args[0]->dims[0],
                 .h = args[0]->dims[1],
                 .w = args[0]->dims[2],
                 .channels = args[0]->dims[3],
                 .features = args[1]->dims[3],
                 .out = ((XLA_FFI_Buffer *)frame->rets.rets[0])->data,
                 .size = attribute(frame, "size"),
                 .dilation = attribute(frame, "dilation"),
                 .dense = attribute(frame, "dense"),
                 .amx = segjax_tiles() && !attribute(frame, "plain")};
}

/* (x [n, h, w, channels], kernel [size, size, channels or 1, features]) -> [n, h, w, features];
 * channels and features are multiples of 16. */
EXPORT XLA_FFI_Error *segjax_convolve(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  Batch b = batch_of(frame);
  const float *kernel = ((XLA_FFI_Buffer *)frame->args.args[1])->data;
  if (!b.dense) {
    b.dy = kernel;
    share(frame, convolve_depthwise, &b, b.count * b.channels / SIDE, MANY);
    return NULL;
  }
  uint16_t *tiles = (uint16_t *)scratch(2, runs_of(&b) * up(run_of(&b), DEPTH) * b.features / 2);
  lay_kernel(&b, kernel, tiles);
  b.kernel = tiles;
  share(frame, convolve, &b, b.count, MANY);
  return NULL;
}

/* (x [n, h, w, channels], dy [n, h, w, features]) -> [size, size, channels or 1, features], the
 * kernel's gradient. */
EXPORT XLA_FFI_Error *segjax_differentiate(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  Batch b = batch_of(frame);
  b.dy = ((XLA_FFI_Buffer *)frame->args.args[1])->data;
  const long vectors = b.size * b.size * (b.dense ? b.channels : 1) * b.features / SIDE;
  b.each = scratch(3, b.count * vectors * SIDE);
  if (b.dense)
    share(frame, differentiate, &b, b.count, MANY);
  else
    share(frame, differentiate_depthwise, &b, b.count * b.channels / SIDE, MANY);
  share(frame, add_up, &b, vectors, MANY);
  return NULL;
}
#endif
