/* Threads that share a job, the memory that each of them keeps, and what XLA says of a call. */
#define _GNU_SOURCE /* for a thread's processors */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "native.h"

/* A frame is thirty short jobs, each behind the other. XLA's pool takes longer to wake than some of
 * them last, so a few threads of our own wait for the next one by spinning, for a while. */
enum { MOST_THREADS = 64, FEW_THREADS = 4, SPINS = 100 };

/* A while. Whoever waits on the core of the one that works makes room for it. */
static void spin(void) {
  for (volatile int i = 0; i < 200; i++) {
  }
  sched_yield();
}

static struct {
  Work *work;
  const void *job;
  long units, chunks;
  atomic_long left, done; /* chunks that nobody took; chunks that are finished */
  atomic_int asleep;
  int threads;
  pthread_t helpers[MOST_THREADS - 1];
  pthread_mutex_t turn, lock;
  pthread_cond_t wake;
} team = {.threads = 1,
          .turn = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

/* Whoever took a chunk reads a job that stays until it is done: the next one waits for all. */
static void take_part(void) {
  for (long at; atomic_load(&team.left) > 0 && (at = atomic_fetch_sub(&team.left, 1)) > 0;) {
    const long begin = (team.chunks - at) * team.units / team.chunks;
    team.work(team.job, begin, (team.chunks - at + 1) * team.units / team.chunks);
    atomic_fetch_add(&team.done, 1);
  }
}

static void *helper(void *unused) {
  for (;;) {
    for (int i = 0; i < SPINS; i++, spin())
      if (atomic_load(&team.left) > 0) take_part(), i = 0;
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.asleep, 1);
    while (atomic_load(&team.left) <= 0) pthread_cond_wait(&team.wake, &team.lock);
    atomic_fetch_sub(&team.asleep, 1);
    pthread_mutex_unlock(&team.lock);
  }
  return unused;
}

/* As many as XLA has, but for a frame's short jobs: it knows what the process is bound to. */
static int wanted_threads(const XLA_FFI_CallFrame *frame, Who who) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args count = {
      .struct_size = XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE,
      .ctx = frame->ctx,
      .num_threads = &threads};
  XLA_FFI_Error_Destroy_Args failure = {.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE};
  failure.error = frame->api->XLA_FFI_ThreadPool_NumThreads(&count);
  if (failure.error) frame->api->XLA_FFI_Error_Destroy(&failure);
  return MIN(threads, who == MANY ? MOST_THREADS : FEW_THREADS);
}

/* Linux likes to wake a thread where its waker runs, and moves it away milliseconds later. */
static void wake_elsewhere(void) {
#ifdef __linux__
  cpu_set_t set;
  const int here = sched_getcpu();
  if (here >= 0 && !sched_getaffinity(0, sizeof set, &set)) {
    CPU_CLR(here, &set);
    for (int i = 0; CPU_COUNT(&set) && i < team.threads - 1; i++)
      pthread_setaffinity_np(team.helpers[i], sizeof set, &set);
  }
#endif
  pthread_mutex_lock(&team.lock);
  pthread_cond_broadcast(&team.wake);
  pthread_mutex_unlock(&team.lock);
}

void share(const XLA_FFI_CallFrame *frame, Work *work, const void *job, long units, Who who) {
  const int threads = wanted_threads(frame, who);
  const bool all_sleep = atomic_load(&team.asleep) + 1 >= team.threads;
  const bool alone = threads == 1 || units == 1 || (who == AWAKE && all_sleep);
  if (alone || pthread_mutex_trylock(&team.turn)) {
    work(job, 0, units);
    return;
  }
  for (pthread_t *next; team.threads < threads; team.threads++) {
    next = &team.helpers[team.threads - 1];
    if (pthread_create(next, NULL, helper, NULL)) break;
    pthread_detach(*next);
  }
  team.work = work, team.job = job, team.units = units;
  team.chunks = MIN(units, 4 * threads);
  atomic_store(&team.done, 0);
  atomic_store(&team.left, team.chunks);
  if (atomic_load(&team.asleep)) wake_elsewhere();
  take_part();
  while (atomic_load(&team.done) < team.chunks) spin();
  pthread_mutex_unlock(&team.turn);
}

/* A thread's own memory, kept for its next call: fresh pages cost more than the work on them. */
float *scratch(int slot, size_t floats) {
  static _Thread_local struct { float *memory; size_t size; } slots[SLOTS];
  if (slots[slot].size < floats) {
    free(slots[slot].memory);
    slots[slot].size = (floats + 1023) / 1024 * 1024;
    slots[slot].memory = aligned_alloc(64, slots[slot].size * sizeof(float));
    memset(slots[slot].memory, 0, slots[slot].size * sizeof(float));
  }
  return slots[slot].memory;
}

static const void *given(const XLA_FFI_CallFrame *frame, const char *name) {
  for (int64_t i = 0; i < frame->attrs.size; i++)
    if (frame->attrs.names[i]->len == strlen(name) &&
        !memcmp(frame->attrs.names[i]->ptr, name, strlen(name)))
      return ((XLA_FFI_Scalar *)frame->attrs.attrs[i])->value;
  return NULL;
}

int64_t attribute(const XLA_FFI_CallFrame *frame, const char *name) {
  const int64_t *value = given(frame, name);
  return value ? *value : 0;
}

float fraction(const XLA_FFI_CallFrame *frame, const char *name) {
  const float *value = given(frame, name);
  return value ? *value : 0;
}

long leading(const XLA_FFI_Buffer *buffer, long inner) {
  long count = 1;
  for (long axis = 0; axis < buffer->rank - inner; axis++) count *= buffer->dims[axis];
  return count;
}

bool only_asks(const XLA_FFI_CallFrame *frame) {
  /* By the one type whose name is the same in all of JAX 0.10 to 0.12. */
  XLA_FFI_Metadata_Extension *extension = (XLA_FFI_Metadata_Extension *)frame->extension_start;
  if (!extension || extension->extension_base.type != XLA_FFI_Extension_Metadata) return false;
  extension->metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  extension->metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  return true;
}
