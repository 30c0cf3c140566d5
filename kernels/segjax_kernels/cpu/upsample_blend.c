/* A frame laid over a background by a small mask, in the integers of the XLA implementations: shares
 * are bytes, products have 16 bits. */
#include "maps.h"

#ifdef __has_builtin /* GCC 12, Clang */
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

typedef uint8_t bytes __attribute__((vector_size(16), aligned(1)));

typedef struct {
  const uint8_t *frame;
  long frames;
  Map mask, room;        /* a small background, if there is room.data */
  const uint8_t *behind; /* a picture or a colour, or NULL */
  long behinds;
  bool colour;
  uint8_t *out;
  long height, width, gain; /* that spreads shares above the mask's least, unless it is 0 */
} Blend;

static inline void fade(uint8_t least, uint16_t gain, uint8_t *restrict shares) {
  for (long i = 0; i < RUN; i++) {
    const uint8_t above = MAX(shares[i], least) - least;
    shares[i] = (uint16_t)(above * gain + 128) >> 8;
  }
}

/* Every byte three times. */
static inline void spread(const uint8_t *restrict in, uint8_t *restrict out) {
#ifdef SHUFFLES
  UNROLL for (int i = 0; i < RUN; i += 16) {
    const bytes x = *(const bytes *)(in + i);
    *(bytes *)(out + 3 * i) =
        __builtin_shufflevector(x, x, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5);
    *(bytes *)(out + 3 * i + 16) =
        __builtin_shufflevector(x, x, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10);
    *(bytes *)(out + 3 * i + 32) = __builtin_shufflevector(x, x, 10, 11, 11, 11, 12, 12, 12, 13, 13,
                                                           13, 14, 14, 14, 15, 15, 15);
  }
#else
  for (long i = 0; i < RUN; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
#endif
}

static inline void mix(const uint8_t *restrict front, const uint8_t *restrict back,
                       const uint8_t *restrict shares, uint8_t *restrict out) {
  uint8_t wide[3 * RUN];
  spread(shares, wide);
  for (long i = 0; i < 3 * RUN; i++) {
    /* front * share + back * (255 - share) + 128: 16 bits hold it, if not every part of it */
    const uint16_t change = (uint16_t)(front[i] - back[i]) * wide[i];
    const uint16_t total = (uint16_t)(back[i] << 8) - back[i] + change + 128;
    out[i] = (uint16_t)(total + (total >> 8)) >> 8;
  }
}

#ifdef SHUFFLES
/* Four pixels whose shares are 4 * QUARTER and on of sixteen: colour and opacity, or all 0. */
#define RGBA(QUARTER)                                                                       \
  {                                                                                         \
    enum { A = 4 * QUARTER, B, C, D };                                                      \
    const bytes colour = *(const bytes *)(front + 3 * (x + A)), none = {0};                 \
    const bytes wide = __builtin_shufflevector(share, none, A, A, A, 16, B, B, B, 16, C, C, \
                                               C, 16, D, D, D, 16);                         \
    const bytes shown = __builtin_shufflevector(colour, none, 0, 1, 2, 16, 3, 4, 5, 16, 6,  \
                                                7, 8, 16, 9, 10, 11, 16);                   \
    const bytes opacity = __builtin_shufflevector(share, none, 16, 16, 16, A, 16, 16, 16,   \
                                                  B, 16, 16, 16, C, 16, 16, 16, D);         \
    *(bytes *)(out + 4 * (x + A)) = (shown & (bytes)(wide != none)) | opacity;              \
  }
#endif

/* RGBA: the front's colours, or 0 where nothing of them shows. */
static void cut_out(const uint8_t *restrict front, const uint8_t *restrict shares, long width,
                    uint8_t *restrict out) {
  long x = 0;
#ifdef SHUFFLES
  for (; x + 18 <= width; x += 16) { /* sixteen bytes are read for four pixels, all of the row */
    const bytes share = *(const bytes *)(shares + x);
    RGBA(0) RGBA(1) RGBA(2) RGBA(3)
  }
#endif
  for (; x < width; x++) {
    for (long c = 0; c < 3; c++) out[4 * x + c] = shares[x] ? front[3 * x + c] : 0;
    out[4 * x + 3] = shares[x];
  }
}

/* Shares of the frame's run that begins at column x; whether they are all the same, and known. */
static int find_shares(const Blend *b, const Rows *rows, const uint8_t *front, long y, long x,
                       uint8_t *restrict shares) {
  const int all = known(rows, x);
  if (all) {
    memset(shares, all == ALL ? 255 : 0, RUN);
    return all;
  }
  const long count = MIN(RUN, b->width - x);
  if (b->mask.kind == SHARES) {
    shares_at(&b->mask, rows, y, x, b->width, shares);
    if (b->gain) fade(b->mask.least, b->gain, shares);
  } else if (count == RUN) {
    line_shares_at(&b->mask, rows, y, x, b->width, front + 3 * x, shares);
  } else { /* what is left of a row */
    uint8_t rest[3 * RUN] = {0};
    memcpy(rest, front + 3 * x, 3 * count);
    line_shares_at(&b->mask, rows, y, x, b->width, rest, shares);
  }
  uint8_t least = 255, most = 0;
  for (long i = 0; i < count; i++) least = MIN(least, shares[i]), most = MAX(most, shares[i]);
  return least == 255 ? ALL : most == 0 ? NOTHING : UNKNOWN;
}

/* Units are rows of the results, of one after the other. */
static void blend(const void *job, long begin, long end) {
  const Blend *b = job;
  const long width = b->width;
  const bool opaque = b->behind || b->room.data;
  Rows mask = rows_of(0, &b->mask, width), room = {0};
  if (b->room.data) room = rows_of(1, &b->room, width);
  uint8_t *shares = (uint8_t *)scratch(2, (width + RUN + 3) / 4), paint[3 * RUN], small[3 * RUN];
  for (long unit = begin, last = -1; unit < end; unit++) {
    const long n = unit / b->height, y = unit % b->height;
    if (n != last) { /* another picture: other maps, and another colour */
      forget(&mask), forget(&room);
      for (long i = 0; b->colour && i < 3 * RUN; i++)
        paint[i] = b->behind[3 * MIN(n, b->behinds - 1) + i % 3];
      last = n;
    }
    const uint8_t *front = b->frame + (MIN(n, b->frames - 1) * b->height + y) * width * 3;
    const uint8_t *behind = NULL;
    seek(&b->mask, MIN(n, b->mask.count - 1), y, width, &mask);
    if (b->room.data)
      seek(&b->room, MIN(n, b->room.count - 1), y, width, &room);
    else if (b->behind && !b->colour)
      behind = b->behind + (MIN(n, b->behinds - 1) * b->height + y) * width * 3;
    uint8_t *out = b->out + unit * width * (opaque ? 3 : 4);
    for (long x = 0; x < width; x += RUN) {
      const long count = MIN(RUN, width - x);
      const int all = find_shares(b, &mask, front, y, x, shares + x);
      if (!opaque) continue;
      if (all == ALL) {
        memcpy(out + 3 * x, front + 3 * x, 3 * count);
        continue;
      }
      if (b->room.data) shares_at(&b->room, &room, y, x, width, small);
      const uint8_t *back = b->room.data ? small : behind ? behind + 3 * x : paint;
      if (all == NOTHING) {
        memcpy(out + 3 * x, back, 3 * count);
      } else if (count == RUN) {
        mix(front + 3 * x, back, shares + x, out + 3 * x);
      } else { /* what is left of a row */
        uint8_t rest[3][3 * RUN] = {0};
        memcpy(rest[0], front + 3 * x, 3 * count), memcpy(rest[1], back, 3 * count);
        mix(rest[0], rest[1], shares + x, rest[2]);
        memcpy(out + 3 * x, rest[2], 3 * count);
      }
    }
    if (!opaque) cut_out(front, shares, width, out);
  }
}

static Map map_of(XLA_FFI_Buffer **args) {
  return (Map){.data = args[0]->data,
               .count = args[0]->dims[0],
               .height = args[0]->dims[1],
               .width = args[0]->dims[2],
               .channels = args[0]->dims[3],
               .rows = args[1]->data,
               .down = args[2]->data,
               .columns = args[3]->data,
               .right = args[4]->data};
}

/* `behind` are the operands of a background, of which there may be none. */
static void run(XLA_FFI_CallFrame *frame, Map mask, XLA_FFI_Buffer **behind) {
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args, *out = frame->rets.rets[0];
  const long given = args + frame->args.size - behind;
  Blend b = {.frame = args[0]->data,
             .frames = args[0]->dims[0],
             .mask = mask,
             .out = out->data,
             .height = out->dims[1],
             .width = out->dims[2],
             .gain = attribute(frame, "gain")};
  if (given == 5)
    b.room = map_of(behind);
  else if (given == 1)
    b.behind = behind[0]->data, b.behinds = behind[0]->dims[0], b.colour = behind[0]->rank == 2;
  share(frame, blend, &b, out->dims[0] * b.height, FEW);
}

/* (frame uint8 [N or 1, H, W, 3], alpha and its taps[, a background]) -> uint8 [N, H, W, 3 or 4].
 * A map is five operands: float32 [N or 1, h, w, C], rows int32 [H], down uint16 [H], columns int32
 * [W], right uint32 [W]. The background is one, or uint8 [N or 1, H, W, 3] or [N or 1, 3]. */
EXPORT XLA_FFI_Error *segjax_upsample_blend(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args;
  Map mask = map_of(args + 1);
  mask.least = attribute(frame, "least");
  run(frame, mask, args + 6);
  return NULL;
}

/* The same of lines from brightness to alpha: (frame, offset, slope and its taps[, a background]). */
EXPORT XLA_FFI_Error *segjax_guided_upsample_blend(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args;
  Map mask = map_of(args + 2);
  mask.kind = LINES;
  mask.offsets = args[1]->data;
  mask.lowest = fraction(frame, "lowest"), mask.scale = fraction(frame, "scale");
  run(frame, mask, args + 7);
  return NULL;
}
