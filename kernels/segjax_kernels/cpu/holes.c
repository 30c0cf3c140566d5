/* Small holes in masks: the least of what eight directions offer, each the largest alpha near. */
#include "native.h"

typedef struct {
  const float *in;
  float *out;
  long height, width, reach, diagonal;
} Fill;

/* The least of `out` and of what the way (down, right) and the way back offer up to `reach`. The
 * plane lies in `windows` with zeros all around; each number becomes the largest of the window that
 * begins there, made of two half as long. Rows below are read before they change. */
static void offer(const Fill *f, const float *in, long down, long right, long reach, bool first,
                  float *out) {
  const long rows = f->height + 2 * reach * down, side = right ? reach : 0;
  const long columns = f->width + 2 * side;
  float *windows = scratch(0, rows * columns);
  memset(windows, 0, rows * columns * sizeof(float));
  for (long y = 0; y < f->height; y++) {
    float *restrict to = windows + (y + reach * down) * columns + side;
    const float *restrict from = in + y * f->width;
    for (long x = 0; x < f->width; x++) to[x] = from[x] > 0 ? from[x] : 0; /* without NaN */
  }
  for (long length = 1, step; length <= reach; length += step) {
    step = MIN(length, reach + 1 - length);
    for (long y = 0; y < rows - step * down; y++) {
      float *here = windows + y * columns;
      const float *there = here + step * (down * columns + right);
      const long begin = right < 0 ? step : 0, end = right > 0 ? columns - step : columns;
      if (down) /* another row: no order to keep */
#pragma GCC ivdep
        for (long x = begin; x < end; x++) here[x] = MAX(here[x], there[x]);
      else
        for (long x = begin; x < end; x++) here[x] = MAX(here[x], there[x]);
    }
  }
  for (long y = 0; y < f->height; y++) {
    /* Back is a window that begins so far before the pixel. */
    const float *restrict back = windows + y * columns + (right < 0 ? 2 * side : 0);
    const float *restrict forth = windows + (y + reach * down) * columns + side;
    float *restrict to = out + y * f->width;
    if (first)
      for (long x = 0; x < f->width; x++) to[x] = MIN(back[x], forth[x]);
    else
      for (long x = 0; x < f->width; x++) to[x] = MIN(to[x], MIN(back[x], forth[x]));
  }
}

/* Units are masks. */
static void fill(const void *job, long begin, long end) {
  const Fill *f = job;
  const long pixels = f->height * f->width;
  for (long unit = begin; unit < end; unit++) {
    const float *in = f->in + unit * pixels;
    float *out = f->out + unit * pixels;
    offer(f, in, 0, 1, f->reach, true, out);
    offer(f, in, 1, 0, f->reach, false, out);
    offer(f, in, 1, 1, f->diagonal, false, out);
    offer(f, in, 1, -1, f->diagonal, false, out);
    for (long i = 0; i < pixels; i++) out[i] = in[i] == in[i] ? out[i] : in[i];
  }
}

/* alpha float32 [..., height, width], reach, diagonal -> the same shape. */
EXPORT XLA_FFI_Error *segjax_fill_holes(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *in = frame->args.args[0], *out = frame->rets.rets[0];
  const Fill f = {.in = in->data,
                  .out = out->data,
                  .height = in->dims[in->rank - 2],
                  .width = in->dims[in->rank - 1],
                  .reach = attribute(frame, "reach"),
                  .diagonal = attribute(frame, "diagonal")};
  share(frame, fill, &f, leading(in, 2), AWAKE);
  return NULL;
}
