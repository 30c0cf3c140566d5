/* The mask's edges moved to those of all three colours, fitted at half the size; then the lines from
 * brightness to alpha. */
#include "native.h"

enum { COLOURS = 3, MAPS = 4, PRODUCTS = 9 }; /* a map a colour, and alpha's */

typedef struct {
  const float *alpha, *colours;
  float *half, *fitted, *mean; /* [MAPS, half_height, half_width] of every picture */
  float *moved, *brightness;
  long height, width, half_height, half_width, radius;
  float softness;
} Guide;

static const float *plane_of(const Guide *guide, long picture, int map) {
  const long pixels = guide->height * guide->width;
  return map < COLOURS ? guide->colours + (picture * COLOURS + map) * pixels
                       : guide->alpha + picture * pixels;
}

static float *small_row(const Guide *guide, float *maps, long picture, int map, long y) {
  return maps + ((picture * MAPS + map) * guide->half_height + y) * guide->half_width;
}

/* Units of all but the last are rows at half the size, of one picture after the other. */
static void halve(const void *job, long begin, long end) {
  const Guide *guide = job;
  for (long unit = begin; unit < end; unit++)
    for (int map = 0; map < MAPS; map++) {
      const long picture = unit / guide->half_height, y = unit % guide->half_height;
      const float *plane = plane_of(guide, picture, map);
      const float *restrict above = plane + 2 * y * guide->width;
      const float *restrict below = plane + MIN(2 * y + 1, guide->height - 1) * guide->width;
      float *restrict out = small_row(guide, guide->half, picture, map, y);
      for (long x = 0; x < guide->width / 2; x++)
        out[x] = (above[2 * x] + below[2 * x] + above[2 * x + 1] + below[2 * x + 1]) / 4;
      const long last = guide->width - 1;
      if (guide->width % 2) out[guide->width / 2] = (above[last] + below[last]) / 2;
    }
}

/* alpha ≈ red, green and blue times a number each, plus one: solved for every window. */
static void fit(const void *job, long begin, long end) {
  const Guide *guide = job;
  const long radius = guide->radius, side = 2 * radius + 1;
  const long width = guide->half_width, wide = width + 2 * radius;
  const float *rows[MAPS][side];
  float *rooms = scratch(0, (MAPS + PRODUCTS) * (wide + width));
  float *means = rooms + (MAPS + PRODUCTS) * wide;
  for (long unit = begin; unit < end; unit++) {
    const long picture = unit / guide->half_height, y = unit % guide->half_height;
    for (int map = 0; map < MAPS; map++)
      for (long i = 0; i < side; i++)
        rows[map][i] = small_row(guide, guide->half, picture, map,
                                 MIN(MAX(y - guide->radius + i, 0), guide->half_height - 1));
    float *total = rooms + guide->radius;
#define SUM(side)                                                                  \
  _Pragma("GCC ivdep") for (long x = 0; x < width; x++) {                          \
    float sums[MAPS + PRODUCTS] = {0};                                             \
    UNROLL for (long i = 0; i < side; i++) {                                       \
      const float r = rows[0][i][x], g = rows[1][i][x], b = rows[2][i][x];         \
      const float a = rows[3][i][x];                                               \
      sums[0] += r, sums[1] += g, sums[2] += b, sums[3] += a;                      \
      sums[4] += r * r, sums[5] += g * g, sums[6] += b * b;                        \
      sums[7] += r * g, sums[8] += r * b, sums[9] += g * b;                        \
      sums[10] += r * a, sums[11] += g * a, sums[12] += b * a;                     \
    }                                                                              \
    UNROLL for (int map = 0; map < MAPS + PRODUCTS; map++) total[map * wide + x] = sums[map]; \
  }
    FOR_SIDE(side, SUM)
#undef SUM
    for (int map = 0; map < MAPS + PRODUCTS; map++)
      across(rooms + map * wide, width, guide->radius, means + map * width);
    float *out[MAPS];
    for (int map = 0; map < MAPS; map++)
      out[map] = small_row(guide, guide->fitted, picture, map, y);
    const float soft = guide->softness;
#define MEAN(map) means[(map) * width + x]
#pragma GCC ivdep
    for (long x = 0; x < width; x++) {
      const float r = MEAN(0), g = MEAN(1), b = MEAN(2), a = MEAN(3);
      const float rr = MEAN(4) - r * r + soft, gg = MEAN(5) - g * g + soft;
      const float bb = MEAN(6) - b * b + soft;
      const float rg = MEAN(7) - r * g, rb = MEAN(8) - r * b, gb = MEAN(9) - g * b;
      const float ra = MEAN(10) - r * a, ga = MEAN(11) - g * a, ba = MEAN(12) - b * a;
      /* The symmetric matrix of the colours' variances, inverted by its cofactors. */
      const float c_rr = gg * bb - gb * gb, c_rg = rb * gb - rg * bb, c_rb = rg * gb - rb * gg;
      const float c_gg = rr * bb - rb * rb, c_gb = rg * rb - rr * gb, c_bb = rr * gg - rg * rg;
      const float scale = 1 / (rr * c_rr + rg * c_rg + rb * c_rb);
      const float of_r = (c_rr * ra + c_rg * ga + c_rb * ba) * scale;
      const float of_g = (c_rg * ra + c_gg * ga + c_gb * ba) * scale;
      const float of_b = (c_rb * ra + c_gb * ga + c_bb * ba) * scale;
      out[0][x] = of_r, out[1][x] = of_g, out[2][x] = of_b;
      out[3][x] = a - of_r * r - of_g * g - of_b * b;
    }
  }
}

static void average(const void *job, long begin, long end) {
  const Guide *guide = job;
  float *room = scratch(0, guide->half_width + 2 * guide->radius);
  for (long unit = begin; unit < end; unit++)
    for (int map = 0; map < MAPS; map++) {
      const long picture = unit / guide->half_height, y = unit % guide->half_height;
      box_row(small_row(guide, guide->fitted, picture, map, 0), y, guide->half_height,
              guide->half_width, guide->radius, room,
              small_row(guide, guide->mean, picture, map, y));
    }
}

/* Units are rows: what was fitted is enlarged to twice the size and applied. */
static void apply(const void *job, long begin, long end) {
  const Guide *guide = job;
  const long small = guide->half_width, width = guide->width;
  float *near = scratch(0, small + 2 + 2 * small), *twice = near + small + 2;
  for (long unit = begin; unit < end; unit++) {
    const long picture = unit / guide->height, y = unit % guide->height;
    const long own = y / 2, other = MIN(MAX(own + (y % 2 ? 1 : -1), 0), guide->half_height - 1);
    float *restrict moved = guide->moved + unit * width;
    float *restrict bright = guide->brightness + unit * width;
    for (int map = 0; map < MAPS; map++) {
      const float *a = small_row(guide, guide->mean, picture, map, own);
      const float *b = small_row(guide, guide->mean, picture, map, other);
      for (long x = 0; x < small; x++) near[x + 1] = 0.75f * a[x] + 0.25f * b[x];
      near[0] = near[1], near[small + 1] = near[small];
      for (long x = 0; x < small; x++) {
        twice[2 * x] = 0.75f * near[x + 1] + 0.25f * near[x];
        twice[2 * x + 1] = 0.75f * near[x + 1] + 0.25f * near[x + 2];
      }
      const float *restrict colour = plane_of(guide, picture, map) + y * width;
      static const float luma[COLOURS] = {0.299f, 0.587f, 0.114f};
      if (map == COLOURS)
        for (long x = 0; x < width; x++) moved[x] += twice[x];
      else
        for (long x = 0; x < width; x++) {
          moved[x] = (map ? moved[x] : 0) + twice[x] * colour[x];
          bright[x] = (map ? bright[x] : 0) + luma[map] * colour[x];
        }
    }
  }
}

/* alpha float32 [..., h, w], colours [..., 3, h, w], radius and softness of the colours' windows,
 * near and near_softness of the lines' -> slope, offset of alpha's shape. */
EXPORT XLA_FFI_Error *segjax_guided_coefficients(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *alpha = frame->args.args[0], *colours = frame->args.args[1];
  XLA_FFI_Buffer **out = (XLA_FFI_Buffer **)frame->rets.rets;
  const long count = leading(alpha, 2), height = alpha->dims[alpha->rank - 2];
  const long width = alpha->dims[alpha->rank - 1], pixels = count * height * width;
  const long half_height = (height + 1) / 2, half_width = (width + 1) / 2;
  const long half = count * MAPS * half_height * half_width;
  float *memory = scratch(2, 3 * half + 2 * pixels);
  const Guide g = {.alpha = alpha->data,
                   .colours = colours->data,
                   .half = memory,
                   .fitted = memory + half,
                   .mean = memory + 2 * half,
                   .moved = memory + 3 * half,
                   .brightness = memory + 3 * half + pixels,
                   .height = height,
                   .width = width,
                   .half_height = half_height,
                   .half_width = half_width,
                   .radius = attribute(frame, "radius"),
                   .softness = fraction(frame, "softness")};
  share(frame, halve, &g, count * half_height, AWAKE);
  share(frame, fit, &g, count * half_height, AWAKE);
  share(frame, average, &g, count * half_height, AWAKE);
  share(frame, apply, &g, count * height, AWAKE);
  fit_lines(frame, g.moved, g.brightness, count * height, height, width, attribute(frame, "near"),
            fraction(frame, "near_softness"), out[0]->data, out[1]->data);
  return NULL;
}
