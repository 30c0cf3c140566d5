/* Islands in masks: what does not hang together with somebody becomes 0. */
#include "native.h"

enum { CELL = 4 }; /* pixels of a cell, along either side */

typedef struct {
  const float *in;
  float *out;
  long height, width, steps;
  float touched, solid;
} Islands;

/* to = whether any of the 3 x 3 bytes around each is set, of rows of `pitch` bytes, zeros around. */
static void spread(const uint8_t *restrict from, long rows, long pitch, uint8_t *restrict across,
                   uint8_t *restrict to) {
  for (long i = 1; i < (rows + 2) * pitch - 1; i++) across[i] = from[i - 1] | from[i] | from[i + 1];
  for (long i = pitch; i < (rows + 1) * pitch; i++)
    to[i] = across[i - pitch] | across[i] | across[i + pitch];
}

/* Units are masks. */
static void drop(const void *job, long begin, long end) {
  const Islands *d = job;
  const long rows = (d->height + CELL - 1) / CELL, columns = (d->width + CELL - 1) / CELL;
  const long pitch = columns + 2;
  const long size = (rows + 2) * pitch; /* with an empty cell on all sides */
  float *sums = scratch(0, size), *restrict line = scratch(2, columns * CELL);
  uint8_t *touched = (uint8_t *)scratch(1, size), *kept = touched + size, *across = kept + size,
          *wider = across + size;
  for (long unit = begin; unit < end; unit++) {
    const float *restrict in = d->in + unit * d->height * d->width;
    float *restrict out = d->out + unit * d->height * d->width;
    memset(sums, 0, size * sizeof(float));
    memset(touched, 0, 4 * size);
    for (long y = 0; y < rows; y++) {
      memset(line, 0, columns * CELL * sizeof(float));
      for (long i = y * CELL; i < MIN((y + 1) * CELL, d->height); i++)
        for (long x = 0; x < d->width; x++) line[x] += in[i * d->width + x];
      float *row = sums + (y + 1) * pitch + 1;
      for (long x = 0; x < columns; x++)
        UNROLL for (long i = 0; i < CELL; i++) row[x] += line[x * CELL + i];
    }
    bool any = false;
    for (long y = 1; y <= rows; y++)
      for (long x = 1; x <= columns; x++) {
        const float *at = sums + y * pitch + x;
        float around = 0;
        for (long i = -1; i <= 1; i++) around += at[i * pitch - 1] + at[i * pitch] + at[i * pitch + 1];
        const long i = y * pitch + x;
        touched[i] = *at > d->touched * CELL * CELL;
        kept[i] = touched[i] && around > d->solid * 9 * CELL * CELL;
        any |= kept[i];
      }
    for (long step = 0; step < d->steps; step++) {
      spread(kept, rows, pitch, across, wider);
      for (long i = 0; i < size; i++) kept[i] = wider[i] & touched[i];
    }
    spread(kept, rows, pitch, across, wider);
    for (long y = 0; y < rows; y++) {
      const uint8_t *row = wider + (y + 1) * pitch + 1;
      for (long x = 0; x < columns; x++)
        UNROLL for (long i = 0; i < CELL; i++) line[x * CELL + i] = any && !row[x] ? 0 : 1;
      for (long i = y * CELL * d->width; i < MIN((y + 1) * CELL, d->height) * d->width; i += d->width)
        for (long x = 0; x < d->width; x++) out[i + x] = in[i + x] * line[x]; /* NaN stays */
    }
  }
}

/* alpha float32 [..., height, width], steps, touched, solid -> the same shape. */
EXPORT XLA_FFI_Error *segjax_drop_islands(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *in = frame->args.args[0], *out = frame->rets.rets[0];
  const Islands d = {.in = in->data,
                     .out = out->data,
                     .height = in->dims[in->rank - 2],
                     .width = in->dims[in->rank - 1],
                     .steps = attribute(frame, "steps"),
                     .touched = fraction(frame, "touched"),
                     .solid = fraction(frame, "solid")};
  share(frame, drop, &d, leading(in, 2), AWAKE);
  return NULL;
}
