/* A frame laid over a background by a small mask, in the integers of the XLA implementation: shares
 * are bytes, products have 16 bits. */
#include "native.h"

enum { RUN = 64 }; /* pixels that are looked at together */

#ifdef __has_builtin /* GCC 12, Clang */
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

typedef uint32_t four __attribute__((vector_size(16), aligned(4)));
typedef uint8_t bytes __attribute__((vector_size(16), aligned(1)));

/* A small map of float32 [N or 1, height, width, 1 or 3], and where the frame's pixels lie in it:
 * the map's row before a frame's row (-1: outside), the share of 256 of the row after it; the same
 * of columns, in 65536ths. */
typedef struct {
  const float *data;
  long count, height, width, channels;
  const int32_t *rows, *columns;
  const uint16_t *down;
  const uint32_t *right;
} Map;

typedef struct {
  const uint8_t *frame;
  long frames;
  Map alpha, room;       /* a small background, if there is room.data */
  const uint8_t *behind; /* a picture or a colour, or NULL */
  long behinds;
  bool colour;
  uint8_t *out;
  long height, width, least, gain; /* shares up to `least` of 255 become 0, if there is a gain */
} Blend;

/* Two rows of a map, as wide as the frame and in bytes, and which ones they are. */
typedef struct {
  long at[2];
  uint8_t *wide[2];
  uint8_t *row;     /* for one of the frame's between them */
  uint32_t *narrow; /* for one of the map's with its edges */
} Rows;

static void widen(const Map *m, long plane, long row, long width, Rows *rows, int slot) {
  if (rows->at[slot] == row) return;
  rows->at[slot] = row;
  const long channels = m->channels, inner = MIN(MAX(row, 0), m->height - 1);
  const float *restrict in = m->data + (plane * m->height + inner) * m->width * channels;
  uint32_t *restrict narrow = rows->narrow;
  for (long i = 0; i < m->width * channels; i++) {
    const float x = in[i] > 0 ? in[i] : 0; /* NaN hides */
    narrow[channels + i] = (uint32_t)((x < 1 ? x : 1) * 65280 + 0.5f);
  }
  for (long c = 0; c < channels; c++) {
    narrow[c] = narrow[channels + c];
    narrow[(m->width + 1) * channels + c] = narrow[m->width * channels + c];
  }
  uint8_t *restrict out = rows->wide[slot];
  const int32_t *restrict columns = m->columns;
  const uint32_t *restrict right = m->right;
  if (channels == 1)
    for (long x = 0; x < width; x++) {
      const uint32_t before = narrow[columns[x] + 1], after = narrow[columns[x] + 2];
      out[x] = (before * (65536 - right[x]) + after * right[x] + (1 << 23)) >> 24;
    }
  else
    for (long x = 0; x < width; x++) {
      const uint32_t *pair = narrow + 3 * (columns[x] + 1);
      const four before = *(const four *)pair, after = *(const four *)(pair + 3);
      const four sum = (before * (65536 - right[x]) + after * right[x] + (1 << 23)) >> 24;
      UNROLL for (int c = 0; c < 3; c++) out[3 * x + c] = sum[c];
    }
}

/* Rows above and below a row of the frame; the one below is mostly the next one's above. */
static void widen_both(const Map *m, long plane, long y, long width, Rows *rows) {
  const long above = m->rows[y];
  if (rows->at[1] == above) {
    uint8_t *kept = rows->wide[1];
    rows->wide[1] = rows->wide[0], rows->wide[0] = kept;
    rows->at[1] = rows->at[0], rows->at[0] = above;
  }
  widen(m, plane, above, width, rows, 0);
  widen(m, plane, above + 1, width, rows, 1);
}

/* The bytes of a row of the frame that lies between two of a map. */
static void between(const Rows *rows, uint16_t down, long count, uint8_t *restrict out) {
  const uint8_t *restrict a = rows->wide[0], *restrict b = rows->wide[1];
  const uint16_t up = 256 - down;
  for (long i = 0; i < count; i++) out[i] = (uint16_t)(a[i] * up + b[i] * down + 128) >> 8;
}

static void fade(uint8_t least, uint16_t gain, long count, uint8_t *restrict shares) {
  for (long i = 0; i < count; i++) {
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

static long rounded_up(long bytes) { return (bytes + 63) / 64 * 64; }

/* What `rows_of` needs: two rows of the map and one between them, as wide as the frame, and one as
 * wide as the map. */
static size_t bytes_of(const Map *m, long width) {
  return 3 * rounded_up((width + RUN) * m->channels) + 4 * (m->width + 3) * m->channels;
}

static Rows rows_of(int slot, const Map *m, long width) {
  const long bytes = rounded_up((width + RUN) * m->channels);
  uint8_t *memory = (uint8_t *)scratch(slot, (bytes_of(m, width) + 3) / 4);
  return (Rows){.at = {-2, -2},
                .wide = {memory, memory + bytes},
                .row = memory + 2 * bytes,
                .narrow = (uint32_t *)(memory + 3 * bytes)};
}

/* Units are rows of the results, of one after the other. */
static void blend(const void *job, long begin, long end) {
  const Blend *b = job;
  const long width = b->width;
  const bool opaque = b->behind || b->room.data;
  Rows alpha = rows_of(0, &b->alpha, width), room = {0};
  if (b->room.data) room = rows_of(1, &b->room, width);
  uint8_t paint[3 * RUN];
  for (long unit = begin, last = -1; unit < end; unit++) {
    const long n = unit / b->height, y = unit % b->height;
    if (n != last) { /* another picture: other maps, and another colour */
      alpha.at[0] = alpha.at[1] = room.at[0] = room.at[1] = -2;
      for (long i = 0; b->colour && i < 3 * RUN; i++)
        paint[i] = b->behind[3 * MIN(n, b->behinds - 1) + i % 3];
      last = n;
    }
    const uint8_t *front = b->frame + (MIN(n, b->frames - 1) * b->height + y) * width * 3;
    widen_both(&b->alpha, MIN(n, b->alpha.count - 1), y, width, &alpha);
    between(&alpha, b->alpha.down[y], width, alpha.row);
    if (b->gain) fade(b->least, b->gain, width, alpha.row);
    const uint8_t *behind = NULL;
    if (b->room.data) {
      widen_both(&b->room, MIN(n, b->room.count - 1), y, width, &room);
      between(&room, b->room.down[y], 3 * width, room.row);
      behind = room.row;
    } else if (b->behind && !b->colour) {
      behind = b->behind + (MIN(n, b->behinds - 1) * b->height + y) * width * 3;
    }
    uint8_t *out = b->out + unit * width * (opaque ? 3 : 4);
    if (!opaque) {
      cut_out(front, alpha.row, width, out);
      continue;
    }
    for (long x = 0; x < width; x += RUN) {
      const long count = MIN(RUN, width - x);
      const uint8_t *back = behind ? behind + 3 * x : paint, *shares = alpha.row + x;
      uint8_t least = 255, most = 0;
      for (long i = 0; i < count; i++) least = MIN(least, shares[i]), most = MAX(most, shares[i]);
      if (least == 255 || most == 0) {
        memcpy(out + 3 * x, least == 255 ? front + 3 * x : back, 3 * count);
      } else if (count == RUN) {
        mix(front + 3 * x, back, shares, out + 3 * x);
      } else { /* what is left of a row */
        uint8_t rest[3][3 * RUN] = {0};
        memcpy(rest[0], front + 3 * x, 3 * count), memcpy(rest[1], back, 3 * count);
        mix(rest[0], rest[1], shares, rest[2]);
        memcpy(out + 3 * x, rest[2], 3 * count);
      }
    }
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

/* (frame uint8 [N or 1, H, W, 3], alpha and its taps[, a background]) -> uint8 [N, H, W, 3 or 4].
 * A map is five operands: float32 [N or 1, h, w, C], rows int32 [H], down uint16 [H], columns int32
 * [W], right uint32 [W]. The background is one, or uint8 [N or 1, H, W, 3] or [N or 1, 3]. */
EXPORT XLA_FFI_Error *segjax_upsample_blend(XLA_FFI_CallFrame *frame) {
  if (only_asks(frame)) return NULL;
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args, *out = frame->rets.rets[0];
  Blend b = {.frame = args[0]->data,
             .frames = args[0]->dims[0],
             .alpha = map_of(args + 1),
             .out = out->data,
             .height = out->dims[1],
             .width = out->dims[2],
             .least = attribute(frame, "least"),
             .gain = attribute(frame, "gain")};
  if (frame->args.size == 11) {
    b.room = map_of(args + 6);
  } else if (frame->args.size == 7) {
    b.behind = args[6]->data, b.behinds = args[6]->dims[0], b.colour = args[6]->rank == 2;
  }
  share(frame, blend, &b, out->dims[0] * b.height, true);
  return NULL;
}
