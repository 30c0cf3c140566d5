/* Small maps at the frame's size, in integers. */
#include "maps.h"

typedef uint32_t four __attribute__((vector_size(16), aligned(4)));

enum {
  LARGEST = (1 << 14) - 1, /* of a line's numbers, so that the difference of two has 16 bits */
  DOUBT = 4                /* more than rounding takes from a line's share, or adds */
};

static long rounded_up(long bytes) { return (bytes + 63) / 64 * 64; }

/* Of a pixel of a row: a byte a channel, or a slope and an offset. */
static long bytes_of(const Map *m) { return m->kind == LINES ? 4 : m->channels; }

Rows rows_of(int slot, const Map *m, long width) {
  const long runs = (width + RUN - 1) / RUN;
  const long wide = rounded_up(runs * RUN * bytes_of(m)), flags = rounded_up(runs);
  const long knots = rounded_up(4 * (m->width + 3) * m->channels);
  uint8_t *memory = (uint8_t *)scratch(slot, (2 * (wide + 2 * flags + knots)) / 4);
  Rows rows;
  for (int i = 0; i < 2; i++) {
    rows.wide[i] = memory, memory += wide;
    rows.known[i] = memory, memory += flags;
    rows.made[i] = memory, memory += flags;
    rows.knots[i] = (uint32_t *)memory, memory += knots;
  }
  forget(&rows);
  return rows;
}

void forget(Rows *rows) { rows->at[0] = rows->at[1] = -2; }

static int16_t rounded(float x) {
  return (int16_t)__builtin_rintf(x < -LARGEST ? -LARGEST : x > LARGEST ? LARGEST : x);
}

/* A slope and an offset in one word; the slope's product with 15 bits of brightness loses 16. */
static uint32_t line(const Map *m, float slope, float offset) {
  const bool finite = __builtin_isfinite(slope) && __builtin_isfinite(offset);
  if (!finite) slope = offset = 0; /* hides */
  const int16_t gain = rounded(slope * m->scale * 512);
  const int16_t bias = rounded((offset - m->lowest) * m->scale * 255);
  return (uint16_t)gain | (uint32_t)(uint16_t)bias << 16;
}

static int16_t slope_of(uint32_t line) { return (int16_t)line; }
static int16_t offset_of(uint32_t line) { return (int16_t)(line >> 16); }

/* What a line says of all pixels, whatever their brightness; or a share, of all that have it. */
static uint8_t told_by(const Map *m, uint32_t knot) {
  if (m->kind == SHARES) return knot <= 256 * m->least ? NOTHING : knot == 65280 ? ALL : UNKNOWN;
  const int at_brightest = offset_of(knot) + (slope_of(knot) * 32767 >> 16);
  if (MAX(offset_of(knot), at_brightest) <= -DOUBT) return NOTHING;
  return MIN(offset_of(knot), at_brightest) >= 255 + DOUBT ? ALL : UNKNOWN;
}

static void take(const Map *m, long picture, long row, long width, Rows *rows) {
  const int slot = row & 1;
  if (rows->at[slot] == row) return;
  rows->at[slot] = row;
  const long channels = m->channels, count = m->width * channels;
  const long inner = (picture * m->height + MIN(MAX(row, 0), m->height - 1)) * count;
  uint32_t *restrict knots = rows->knots[slot];
  if (m->kind == LINES)
    for (long i = 0; i < count; i++)
      knots[channels + i] = line(m, m->data[inner + i], m->offsets[inner + i]);
  else
    for (long i = 0; i < count; i++) {
      const float x = m->data[inner + i] > 0 ? m->data[inner + i] : 0; /* NaN hides */
      knots[channels + i] = (uint32_t)((x < 1 ? x : 1) * 65280 + 0.5f);
    }
  for (long c = 0; c < channels; c++) {
    knots[c] = knots[channels + c];
    knots[(m->width + 1) * channels + c] = knots[m->width * channels + c];
  }
  memset(rows->made[slot], 0, (width + RUN - 1) / RUN);
  for (long x = 0; channels == 1 && x < width; x += RUN) {
    const long last = MIN(x + RUN, width) - 1;
    uint8_t all = NOTHING | ALL;
    for (long at = m->columns[x] + 1; all && at <= m->columns[last] + 2; at++)
      all &= told_by(m, knots[at]);
    rows->known[slot][x / RUN] = all;
  }
}

void seek(const Map *m, long picture, long y, long width, Rows *rows) {
  take(m, picture, m->rows[y], width, rows);
  take(m, picture, m->rows[y] + 1, width, rows);
}

static int16_t *slopes_of(const Rows *rows, int slot, long x) {
  return (int16_t *)rows->wide[slot] + 2 * x;
}

/* Enlarges a run of both rows. Of lines it holds RUN slopes, then as many offsets. */
static void widen(const Map *m, const Rows *rows, long x, long width) {
  const long count = MIN(RUN, width - x);
  const int32_t *restrict columns = m->columns + x;
  const uint32_t *restrict right = m->right + x;
  for (int slot = 0; slot < 2; slot++) {
    if (rows->made[slot][x / RUN]) continue;
    rows->made[slot][x / RUN] = true;
    const uint32_t *restrict knots = rows->knots[slot];
    uint8_t *restrict out = rows->wide[slot] + x * m->channels;
    int16_t *restrict slopes = slopes_of(rows, slot, x), *restrict offsets = slopes + RUN;
    if (m->kind == LINES)
      for (long i = 0; i < count; i++) {
        const uint32_t before = knots[columns[i] + 1], after = knots[columns[i] + 2];
        const int share = right[i] >> 2;
        const int slope = slope_of(before), offset = offset_of(before);
        slopes[i] = slope + ((slope_of(after) - slope) * share >> 14);
        offsets[i] = offset + ((offset_of(after) - offset) * share >> 14);
      }
    else if (m->channels == 1)
      for (long i = 0; i < count; i++) {
        const uint32_t before = knots[columns[i] + 1], after = knots[columns[i] + 2];
        out[i] = (before * (65536 - right[i]) + after * right[i] + (1 << 23)) >> 24;
      }
    else
      for (long i = 0; i < count; i++) {
        const uint32_t *pair = knots + 3 * (columns[i] + 1);
        const four before = *(const four *)pair, after = *(const four *)(pair + 3);
        const four sum = (before * (65536 - right[i]) + after * right[i] + (1 << 23)) >> 24;
        UNROLL for (int c = 0; c < 3; c++) out[3 * i + c] = sum[c];
      }
  }
}

void shares_at(const Map *m, const Rows *rows, long y, long x, long width, uint8_t *restrict out) {
  widen(m, rows, x, width);
  const int above = m->rows[y] & 1;
  const uint8_t *restrict a = rows->wide[above] + x * m->channels;
  const uint8_t *restrict b = rows->wide[!above] + x * m->channels;
  const uint16_t down = m->down[y], up = 256 - down;
  const long count = RUN * m->channels;
  for (long i = 0; i < count; i++) out[i] = (uint16_t)(a[i] * up + b[i] * down + 128) >> 8;
}

static inline int16_t between(int16_t above, int16_t below, int16_t down) {
  return above + (int16_t)(((int16_t)(below - above) * down + (1 << 14)) >> 15);
}

void line_shares_at(const Map *m, const Rows *rows, long y, long x, long width,
                    const uint8_t *restrict frame, uint8_t *restrict out) {
  widen(m, rows, x, width);
  const int above = m->rows[y] & 1;
  const int16_t *restrict a = slopes_of(rows, above, x), *restrict b = slopes_of(rows, !above, x);
  const int16_t down = m->down[y];
  for (long i = 0; i < RUN; i++) {
    const uint8_t *pixel = frame + 3 * i;
    /* Of 257 parts, so that the brightest pixel fills 16 bits. */
    const uint16_t bright = 77 * pixel[0] + 151 * pixel[1] + 29 * pixel[2];
    const int16_t slope = between(a[i], b[i], down);
    const int16_t offset = between(a[RUN + i], b[RUN + i], down);
    const int16_t share = (int16_t)(slope * (int16_t)(bright >> 1) >> 16) + offset;
    out[i] = share < 0 ? 0 : share > 255 ? 255 : share;
  }
}
