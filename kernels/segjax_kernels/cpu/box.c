/* Means of windows, of planes; edges repeat. */
#include "native.h"

void across(float *restrict room, long width, long radius, float *restrict out) {
  const long side = 2 * radius + 1;
  const float share = 1.f / (side * side);
  for (long x = 0; x < radius; x++) {
    room[x] = room[radius];
    room[radius + width + x] = room[radius + width - 1];
  }
#define SUM(side)                                              \
  for (long x = 0; x < width; x++) {                           \
    float sum = 0;                                             \
    UNROLL for (long i = 0; i < side; i++) sum += room[x + i]; \
    out[x] = sum * share;                                      \
  }
  FOR_SIDE(side, SUM)
#undef SUM
}

void box_row(const float *plane, long y, long height, long width, long radius,
             float *restrict room, float *restrict out) {
  const long side = 2 * radius + 1;
  const float *rows[side];
  for (long i = 0; i < side; i++)
    rows[i] = plane + MIN(MAX(y - radius + i, 0), height - 1) * width;
#define SUM(side)                                             \
  for (long x = 0; x < width; x++) {                          \
    float sum = 0;                                            \
    UNROLL for (long i = 0; i < side; i++) sum += rows[i][x]; \
    room[radius + x] = sum;                                   \
  }
  FOR_SIDE(side, SUM)
#undef SUM
  across(room, width, radius, out);
}

typedef struct {
  const float *in;
  float *out;
  long height, width, radius;
} Box;

/* Units are rows of planes, of one plane after the other. */
static void box(const void *job, long begin, long end) {
  const Box *b = job;
  float *room = scratch(0, b->width + 2 * b->radius);
  for (long unit = begin; unit < end; unit++) {
    const float *plane = b->in + unit / b->height * b->height * b->width;
    box_row(plane, unit % b->height, b->height, b->width, b->radius, room,
            b->out + unit * b->width);
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
  share(frame, box, &b, leading(in, 1), AWAKE);
  return NULL;
}
