/* A frame of bytes made small: each pixel is the mean of its area, rows first. */
#include "native.h"

typedef float four __attribute__((vector_size(16), aligned(4)));

typedef struct {
  const uint8_t *in;
  float *out;
  long rows, columns, height, width; /* of a frame, and of what is made of it */
} Shrink;

/* A pixel's area in units of 1/size of a row or column: it begins within `first`, which counts
 * `head`, holds whole ones, which count `whole`, and ends within `last`, which counts `tail`. These
 * are whole numbers, so that sums of bytes are exact as long as floats are. */
typedef struct {
  int first, last;
  float head, whole, tail;
} Area;

static Area area_of(long at, long of, long size) {
  const long begin = at * of, end = begin + of;
  const Area a = {.first = begin / size,
                  .last = (end - 1) / size,
                  .head = MIN(end, (begin / size + 1) * size) - begin,
                  .whole = size,
                  .tail = end - (end - 1) / size * size};
  return a;
}

static long common(long a, long b) { return b ? common(b, a % b) : a; }

/* Units are rows of the small pictures, of one after the other. */
static void shrink(const void *job, long begin, long end) {
  const Shrink *s = job;
  const long bytes = 3 * s->columns;
  const long down = common(s->rows, s->height), across = common(s->columns, s->width);
  const float units = 255.f * (s->rows / down) * (s->columns / across);
  float *restrict sums = scratch(0, bytes + 4);
  Area *areas = (Area *)scratch(1, s->width * sizeof(Area) / sizeof(float));
  for (long x = 0; x < s->width; x++)
    areas[x] = area_of(x, s->columns / across, s->width / across);
  for (long unit = begin; unit < end; unit++) {
    const uint8_t *frame = s->in + unit / s->height * s->rows * bytes;
    const Area rows = area_of(unit % s->height, s->rows / down, s->height / down);
    for (long y = rows.first; y <= rows.last; y++) {
      const float share = y == rows.first ? rows.head : y == rows.last ? rows.tail : rows.whole;
      const uint8_t *restrict row = frame + y * bytes;
      /* A frame lies in memory, and at every page a processor loses track of what comes next. */
      for (long i = 0; i < bytes; i += 64) __builtin_prefetch(row + bytes + i);
      if (y == rows.first)
        for (long i = 0; i < bytes; i++) sums[i] = share * row[i];
      else
        for (long i = 0; i < bytes; i++) sums[i] += share * row[i];
    }
    float *out = s->out + unit * s->width * 3;
    for (long x = 0; x < s->width; x++) {
      const Area *a = areas + x;
      four sum = a->head * *(const four *)(sums + 3 * a->first), inside = {0};
      for (long i = a->first + 1; i < a->last; i++) inside += *(const four *)(sums + 3 * i);
      sum += a->whole * inside;
      if (a->last > a->first) sum += a->tail * *(const four *)(sums + 3 * a->last);
      sum /= units;
      memcpy(out + 3 * x, &sum, 3 * sizeof(float));
    }
  }
}

/* frames uint8 [N, rows, columns, 3] -> float32 [N, height, width, 3] in [0, 1]; no side grows. */
EXPORT XLA_FFI_Error *segjax_preprocess(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  const XLA_FFI_Buffer *in = frame->args.args[0], *out = frame->rets.rets[0];
  const Shrink s = {.in = in->data,
                    .out = out->data,
                    .rows = in->dims[1],
                    .columns = in->dims[2],
                    .height = out->dims[1],
                    .width = out->dims[2]};
  share(frame, shrink, &s, out->dims[0] * s.height, AWAKE);
  return NULL;
}
