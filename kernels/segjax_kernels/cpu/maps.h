/* Small maps at the frame's size: enlarged a run of pixels at a time, and only where that is asked
 * for. Most of a mask is all room or all person, which its knots tell without their being enlarged. */
#include "native.h"

enum { RUN = 64 }; /* pixels that are looked at together */

typedef enum {
  SHARES, /* float32 [N or 1, height, width, 1 or 3], of which bytes are made */
  LINES   /* from brightness to such shares: of slopes and of offsets, each as above */
} Kind;

/* Where the frame's pixels lie in a map: its row before a frame's row (-1: outside), the share of
 * 256, for lines of 32768, of the row after it; the same of columns, in 65536ths. */
typedef struct {
  Kind kind;
  const float *data, *offsets; /* the latter of lines alone */
  long count, height, width, channels;
  const int32_t *rows, *columns;
  const uint16_t *down;
  const uint32_t *right;
  long least;          /* shares up to this of 255 count as 0 */
  float lowest, scale; /* of lines: (slope * brightness + offset - lowest) * scale is the share */
} Map;

/* Two rows of a map, as numbers of 16 bits with the edges repeated, and what of them is enlarged. */
typedef struct {
  long at[2];
  uint32_t *knots[2];
  uint8_t *known[2], *made[2]; /* of every run: what all its pixels are; whether it is enlarged */
  uint8_t *wide[2];
} Rows;

enum { UNKNOWN = 0, NOTHING = 1, ALL = 2 };

/* A thread's memory for a map, in one of its scratch slots. */
Rows rows_of(int slot, const Map *map, long width);

/* Gets the two rows around row y of the frame, of one of the map's pictures. */
void seek(const Map *map, long picture, long y, long width, Rows *rows);

/* Before another picture. */
void forget(Rows *rows);

/* What all pixels of a run are, as far as knots tell. */
static inline int known(const Rows *rows, long x) {
  return rows->known[0][x / RUN] & rows->known[1][x / RUN];
}

/* Shares of a run of row y as bytes: RUN * channels of them, of which those beyond the row are
 * anything. Of lines, at the frame's own pixels. */
void shares_at(const Map *map, const Rows *rows, long y, long x, long width, uint8_t *out);
void line_shares_at(const Map *map, const Rows *rows, long y, long x, long width,
                    const uint8_t *frame, uint8_t *out);
