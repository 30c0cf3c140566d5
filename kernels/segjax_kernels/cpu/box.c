/* Means of windows, of planes; edges repeat. */
#include "native.h"

typedef struct {
  const float *in;
  float *out;
  long height, width, radius;
} Box;

/* Units are rows of planes, of one plane after the other. */
static void box(const void *job, long begin, long end) {
  const Box *b = job;
  const long width = b->width, radius = b->radius, side = 2 * radius + 1;
  const float share = 1.f / (side * side);
  float *restrict total = scratch(0, width + 2 * radius);
  for (long unit = begin; unit < end; unit++) {
    const float *plane = b->in + unit / b->height * b->height * width;
    const long y = unit % b->height;
    for (long down = -radius; down <= radius; down++) {
      const float *row = plane + MIN(MAX(y + down, 0), b->height - 1) * width;
      if (down == -radius)
        for (long x = 0; x < width; x++) total[radius + x] = row[x];
      else
        for (long x = 0; x < width; x++) total[radius + x] += row[x];
    }
    for (long x = 0; x < radius; x++) {
      total[x] = total[radius];
      total[radius + width + x] = total[radius + width - 1];
    }
    float *restrict out = b->out + unit * width;
    for (long x = 0; x < width; x++) out[x] = total[x];
    for (long right = 1; right < side; right++)
      for (long x = 0; x < width; x++) out[x] += total[x + right];
    for (long x = 0; x < width; x++) out[x] *= share;
  }
}

/* x float32 [..., height, width], radius -> the same shape. */
EXPORT XLA_FFI_Error *segjax_box(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *in = frame->args.args[0], *out = frame->rets.rets[0];
  const Box b = {.in = in->data,
                 .out = out->data,
                 .height = in->dims[in->rank - 2],
                 .width = in->dims[in->rank - 1],
                 .radius = attribute(frame, "radius")};
  share(frame, box, &b, leading(in, 1), false);
  return NULL;
}
