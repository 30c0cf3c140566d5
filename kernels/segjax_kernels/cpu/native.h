/* What the operations share. Each is a function that XLA calls through its C FFI; the caller in
 * Python checks shapes and dtypes. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

#define EXPORT __attribute__((visibility("default")))
#define UNROLL _Pragma("GCC unroll 32")
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

/* Of the usual windows the compiler knows the side: sums stay in registers. */
#define FOR_SIDE(side, DO) \
  switch (side) {          \
    case 3: DO(3); break;  \
    case 5: DO(5); break;  \
    default: DO(side);     \
  }

/* Does units begin..end-1 of a job. */
typedef void Work(const void *job, long begin, long end);

/* Who helps: those who are awake, since less than half a millisecond is done before others come; a
 * few, for that and the first job of many; as many as XLA has, for a batch's. */
typedef enum { AWAKE, FEW, MANY } Who;

/* Does units 0..units-1, with others if there are any who have no other job. */
void share(const XLA_FFI_CallFrame *frame, Work *work, const void *job, long units, Who who);

/* A thread's own memory, kept for its next call: fresh pages cost more than the work on them. It
 * begins at a multiple of 64 bytes; what it holds is what was left there, or 0. */
enum { SLOTS = 4 };
float *scratch(int slot, size_t floats);

/* An int64 and a float given to the call, or 0. */
int64_t attribute(const XLA_FFI_CallFrame *frame, const char *name);
float fraction(const XLA_FFI_CallFrame *frame, const char *name);

/* How many planes or rows a buffer holds: the product of its axes but the last `inner`. */
long leading(const XLA_FFI_Buffer *buffer, long inner);

/* Whether XLA but asks for the version of its interface, which is then answered. */
bool only_asks(const XLA_FFI_CallFrame *frame);

/* A row of sums over a window's rows stands in `room` from `radius` on, width numbers long: becomes
 * the windows' means. The numbers at both ends are repeated `radius` times, so much room is left. */
void across(float *room, long width, long radius, float *out);

/* The means of the windows around row y of a plane. `room` holds width + 2 * radius floats. */
void box_row(const float *plane, long y, long height, long width, long radius, float *room,
             float *out);

/* The guided filter's lines from brightness to alpha, of `rows` rows of planes. */
void fit_lines(const XLA_FFI_CallFrame *frame, const float *alpha, const float *brightness,
               long rows, long height, long width, long radius, float softness, float *slope,
               float *offset);
