/* A mask mixed into the one before: segjax/matting/smoothing.py says what is done, and why. */
#include <math.h>
#include <stdatomic.h>

#include "native.h"

enum { COLOURS = 3 };

/* Where a ramp begins, and how steep it is. */
typedef struct {
  float low, slope;
} Ramp;

static Ramp ramp_between(float low, float high) {
  return (Ramp){low, 1 / (high - low)};
}

static inline float climb(Ramp ramp, float x) {
  const float at = (x - ramp.low) * ramp.slope;
  return MIN(MAX(at, 0.f), 1.f);
}

typedef struct {
  const float *before, *planes_before, *latest; /* the state */
  float started;
  const float *alpha, *planes; /* this frame's */
  float *mixed, *picture, *clean, *result;
  float *change; /* of the colours, [height, width] */
  long height, width;
  float rising, falling, shown, sure;
  Ramp motion, rise, fall, gone;
  atomic_long *are_broken, *are_shown, *are_sure; /* numbers of pixels */
} Smooth;

/* The largest of the colours' changes, averaged over 3 x 3 pixels. Units are rows. */
static void compare(const void *job, long begin, long end) {
  const Smooth *s = job;
  const long width = s->width;
  float *room = scratch(0, 2 * width + 2), *mean = room + width + 2;
  for (long y = begin; y < end; y++) {
    float *change = s->change + y * width;
    for (int colour = 0; colour < COLOURS; colour++) {
      const float *now[3], *then[3];
      for (int i = 0; i < 3; i++) {
        const long row = (colour * s->height + MIN(MAX(y - 1 + i, 0), s->height - 1)) * width;
        now[i] = s->planes + row, then[i] = s->planes_before + row;
      }
#pragma GCC ivdep
      for (long x = 0; x < width; x++) {
        float sum = 0;
        UNROLL for (int i = 0; i < 3; i++) sum += now[i][x] - then[i][x];
        room[1 + x] = sum;
      }
      across(room, width, 1, mean);
#pragma GCC ivdep
      for (long x = 0; x < width; x++) {
        const float changed = fabsf(mean[x]), most = colour ? change[x] : 0;
        change[x] = MAX(most, changed);
      }
    }
  }
}

static void mix(const void *job, long begin, long end) {
  const Smooth local = *(const Smooth *)job, *s = &local;
  const long width = s->width;
  float *room = scratch(0, 3 * width + 2), *change = room + width + 2;
  float *share = change + width;
  int broken = 0, shown = 0, sure = 0;
  for (long y = begin; y < end; y++) {
    box_row(s->change, y, s->height, width, 1, room, change);
    const float *alpha = s->alpha + y * width, *before = s->before + y * width;
    const float *latest = s->latest + y * width;
    float *mixed = s->mixed + y * width, *clean = s->clean + y * width;
#pragma GCC ivdep
    for (long x = 0; x < width; x++) {
      const int finite = alpha[x] - alpha[x] == 0;
      const float mask = finite ? alpha[x] : 0;
      const float now = mask - before[x], then = latest[x] - before[x];
      const float plainly = climb(s->fall, -MAX(now, then)) * climb(s->gone, -MAX(mask, latest[x]));
      const float agreed = MAX(climb(s->rise, MIN(now, then)), plainly);
      const float moves = MAX(climb(s->motion, change[x]), agreed);
      const float free = MAX(moves, 1 - s->started);
      const float trust = free + (1 - free) * (2 * mask - 1) * (2 * mask - 1);
      const float slowly = now > 0 ? s->rising : s->falling;
      const float to = before[x] + (slowly + (1 - slowly) * free) * trust * now;
      mixed[x] = MIN(MAX(to, 0.f), 1.f);
      clean[x] = mask;
      share[x] = s->rising + (1 - s->rising) * free;
      broken += !finite;
      shown += mixed[x] > s->shown;
      sure += mixed[x] > s->sure;
    }
    for (int colour = 0; colour < COLOURS; colour++) {
      const long row = (colour * s->height + y) * width;
      const float *now = s->planes + row, *then = s->planes_before + row;
      float *picture = s->picture + row;
      for (long x = 0; x < width; x++) picture[x] = then[x] + share[x] * (now[x] - then[x]);
    }
  }
  atomic_fetch_add(s->are_broken, broken);
  atomic_fetch_add(s->are_shown, shown);
  atomic_fetch_add(s->are_sure, sure);
}

/* The state (alpha, planes, latest, started), alpha float32 [h, w], planes [3, h, w] and the
 * constants of smoothing.py -> the new state, in the place of the old one, and the mask [h, w]. */
EXPORT XLA_FFI_Error *segjax_smooth(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  XLA_FFI_Buffer **in = (XLA_FFI_Buffer **)frame->args.args;
  XLA_FFI_Buffer **out = (XLA_FFI_Buffer **)frame->rets.rets;
  const long height = in[0]->dims[0], width = in[0]->dims[1];
#define GIVEN(name) fraction(frame, #name)
  atomic_long broken = 0, shown = 0, sure = 0;
  const Smooth s = {.before = in[0]->data,
                    .planes_before = in[1]->data,
                    .latest = in[2]->data,
                    .started = *(float *)in[3]->data,
                    .alpha = in[4]->data,
                    .planes = in[5]->data,
                    .mixed = out[0]->data,
                    .picture = out[1]->data,
                    .clean = out[2]->data,
                    .result = out[4]->data,
                    .change = scratch(1, height * width),
                    .height = height,
                    .width = width,
                    .rising = GIVEN(rising),
                    .falling = GIVEN(falling),
                    .shown = GIVEN(shown),
                    .sure = GIVEN(sure),
                    .motion = ramp_between(GIVEN(noise), GIVEN(motion)),
                    .rise = ramp_between(GIVEN(doubt), GIVEN(agreement)),
                    .fall = ramp_between(GIVEN(slight), GIVEN(plain)),
                    .gone = ramp_between(-GIVEN(maybe_room), -GIVEN(room)),
                    .are_broken = &broken,
                    .are_shown = &shown,
                    .are_sure = &sure};
  share(frame, compare, &s, height, AWAKE);
  share(frame, mix, &s, height, AWAKE);
  const Ramp presence = ramp_between(GIVEN(nobody), GIVEN(somebody));
  const float factor = broken ? NAN : climb(presence, (float)sure / MAX(shown, 1));
  for (long i = 0; i < height * width; i++) s.result[i] = s.mixed[i] * factor;
  *(float *)out[3]->data = !broken;
  return NULL;
}
