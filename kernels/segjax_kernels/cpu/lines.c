/* The guided filter's lines from brightness to alpha: fitted in each window, and their means. */
#include "native.h"

typedef struct {
  const float *alpha, *brightness;
  float *fitted[2], *mean[2]; /* slope and offset */
  long height, width, radius;
  float softness;
} Lines;

/* Units are rows of planes, of one plane after the other. */
static void fit(const void *job, long begin, long end) {
  const Lines *l = job;
  const long width = l->width, wide = width + 2 * l->radius, side = 2 * l->radius + 1;
  const float *alphas[side], *brights[side];
  float *rooms = scratch(0, 4 * (wide + width)), *means = rooms + 4 * wide;
  for (long unit = begin; unit < end; unit++) {
    const long top = unit / l->height * l->height, y = unit % l->height;
    for (long i = 0; i < side; i++) {
      const long row = (top + MIN(MAX(y - l->radius + i, 0), l->height - 1)) * width;
      alphas[i] = l->alpha + row, brights[i] = l->brightness + row;
    }
    float *total = rooms + l->radius;
#define SUM(side)                                                  \
  _Pragma("GCC ivdep") for (long x = 0; x < width; x++) {          \
    float bright = 0, alpha = 0, square = 0, product = 0;          \
    UNROLL for (long i = 0; i < side; i++) {                       \
      bright += brights[i][x], alpha += alphas[i][x];              \
      square += brights[i][x] * brights[i][x];                     \
      product += brights[i][x] * alphas[i][x];                     \
    }                                                              \
    total[x] = bright, total[wide + x] = alpha;                    \
    total[2 * wide + x] = square, total[3 * wide + x] = product;   \
  }
    FOR_SIDE(side, SUM)
#undef SUM
    for (int map = 0; map < 4; map++)
      across(rooms + map * wide, width, l->radius, means + map * width);
    float *slopes = l->fitted[0] + unit * width, *offsets = l->fitted[1] + unit * width;
    const float softness = l->softness;
#pragma GCC ivdep
    for (long x = 0; x < width; x++) {
      const float bright = means[x], alpha = means[width + x];
      const float square = means[2 * width + x], product = means[3 * width + x];
      const float slope = (product - bright * alpha) / (square - bright * bright + softness);
      slopes[x] = slope;
      offsets[x] = alpha - slope * bright;
    }
  }
}

static void average(const void *job, long begin, long end) {
  const Lines *l = job;
  float *room = scratch(0, l->width + 2 * l->radius);
  for (long unit = begin; unit < end; unit++)
    for (int map = 0; map < 2; map++) {
      const float *plane = l->fitted[map] + unit / l->height * l->height * l->width;
      box_row(plane, unit % l->height, l->height, l->width, l->radius, room,
              l->mean[map] + unit * l->width);
    }
}

void fit_lines(const XLA_FFI_CallFrame *frame, const float *alpha, const float *brightness,
               long rows, long height, long width, long radius, float softness, float *slope,
               float *offset) {
  float *fitted = scratch(1, 2 * rows * width);
  const Lines l = {.alpha = alpha,
                   .brightness = brightness,
                   .fitted = {fitted, fitted + rows * width},
                   .mean = {slope, offset},
                   .height = height,
                   .width = width,
                   .radius = radius,
                   .softness = softness};
  share(frame, fit, &l, rows, AWAKE);
  share(frame, average, &l, rows, AWAKE);
}

/* alpha, brightness float32 [..., height, width], radius, softness -> slope, offset, of its shape */
EXPORT XLA_FFI_Error *segjax_fit_lines(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *alpha = frame->args.args[0], *brightness = frame->args.args[1];
  XLA_FFI_Buffer **out = (XLA_FFI_Buffer **)frame->rets.rets;
  const long rank = alpha->rank;
  fit_lines(frame, alpha->data, brightness->data, leading(alpha, 1), alpha->dims[rank - 2],
            alpha->dims[rank - 1], attribute(frame, "radius"), fraction(frame, "softness"),
            out[0]->data, out[1]->data);
  return NULL;
}
