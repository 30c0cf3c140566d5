/* Products of tiles of 16x32 and 32x16 bfloat16 numbers, summed in float32: one instruction of AMX,
 * 16x16 of AVX512-BF16. */
#include "native.h"

/* Of a tile: rows and columns, products that are summed at once, numbers. */
enum { SIDE = 16, DEPTH = 32, TILE = SIDE * DEPTH };

/* 1 if AMX is there and Linux lets this process have it. */
int segjax_tiles(void);

#ifdef __AVX512BF16__
#include <immintrin.h>

/* sums[16 i ..][16 j ..] = or += the products of rows and columns, of `runs` runs of `steps` tiles. Rows
 * of numbers lie `pitch` apart, those of the next i `below`, those of the next run `row`, and go on
 * from tile to tile; columns are tiles of pairs, [pair][column][2], one behind the other and `next`
 * from those of the next j. */
typedef struct {
  const uint16_t *rows, *columns;
  long pitch, below, row, next, runs, steps;
  float *sums;
  long width; /* of a row of sums */
  bool fresh; /* sums begin with 0 */
} Tiles;

static inline __m256i narrowed(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

static inline __m256i rounded(const float *x) { return narrowed(_mm512_loadu_ps(x)); }

static inline __attribute__((always_inline)) void plain(const Tiles *p, int down, int across) {
  for (int i = 0; i < down; i++)
    for (int j = 0; j < across; j++) {
      float *sums = p->sums + i * SIDE * p->width + j * SIDE;
      __m512 kept[SIDE];
      UNROLL for (int m = 0; m < SIDE; m++)
        kept[m] = p->fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + m * p->width);
      for (long tile = 0; tile < p->runs * p->steps; tile++) {
        const long run = tile / p->steps, step = tile % p->steps;
        const uint16_t *rows = p->rows + i * p->below + run * p->row + step * DEPTH;
        const uint16_t *columns = p->columns + j * p->next + tile * TILE;
        for (int k = 0; k < DEPTH; k += 2) {
          const __m512bh pairs = (__m512bh)_mm512_load_si512(columns + k * SIDE);
          UNROLL for (int m = 0; m < SIDE; m++) {
            int two;
            memcpy(&two, rows + m * p->pitch + k, sizeof two);
            kept[m] = _mm512_dpbf16_ps(kept[m], (__m512bh)_mm512_set1_epi32(two), pairs);
          }
        }
      }
      UNROLL for (int m = 0; m < SIDE; m++) _mm512_storeu_ps(sums + m * p->width, kept[m]);
    }
}

#ifdef __AMX_BF16__
static void begin_tiles(void) {
  struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } shape = {1};
  for (int tile = 0; tile < 8; tile++) shape.bytes[tile] = 64, shape.rows[tile] = SIDE;
  __asm__ volatile("" ::"m"(shape)); /* GCC before 13.3 thinks that only its start is read */
  _tile_loadconfig(&shape);
}

static void end_tiles(void) { _tile_release(); }

#define SUMS(DO)                                                            \
  DO(0, p->sums);                                                           \
  if (across > 1) DO(1, p->sums + SIDE);                                    \
  if (down > 1) DO(2, p->sums + SIDE * p->width);                           \
  if (down > 1 && across > 1) DO(3, p->sums + SIDE * p->width + SIDE)
#define TAKE(tile, sums) _tile_loadd(tile, sums, p->width * sizeof(float))
#define KEEP(tile, sums) _tile_stored(tile, sums, p->width * sizeof(float))

static inline __attribute__((always_inline)) void tiled(const Tiles *p, int down, int across) {
  if (p->fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    SUMS(TAKE);
  }
  const uint16_t *columns = p->columns;
  for (long run = 0; run < p->runs; run++) {
    const uint16_t *rows = p->rows + run * p->row;
    for (long step = 0; step < p->steps; step++, rows += DEPTH, columns += TILE) {
      _tile_loadd(4, rows, p->pitch * sizeof *rows);
      _tile_loadd(6, columns, 2 * DEPTH);
      _tile_dpbf16ps(0, 4, 6);
      if (across > 1) _tile_loadd(7, columns + p->next, 2 * DEPTH);
      if (across > 1) _tile_dpbf16ps(1, 4, 7);
      if (down > 1) _tile_loadd(5, rows + p->below, p->pitch * sizeof *rows);
      if (down > 1) _tile_dpbf16ps(2, 5, 6);
      if (down > 1 && across > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  SUMS(KEEP);
}
#else
static void begin_tiles(void) {}
static void end_tiles(void) {}
#define tiled plain
#endif

/* `down` and `across` are how many i and j there are, 1 or 2. */
static void multiply(const Tiles *p, int down, int across, bool amx) {
#define OF(D, A) \
  if (down == D && across == A) amx ? tiled(p, D, A) : plain(p, D, A);
  OF(1, 1) OF(1, 2) OF(2, 1) OF(2, 2)
#undef OF
}
#endif
