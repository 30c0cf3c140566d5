/* Who may use AMX. */
#define _GNU_SOURCE /* for syscall */
#include "tiles.h"

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives the tiles to a process that asks for them. */
EXPORT int segjax_tiles(void) {
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  static int given = -1;
  if (given < 0) given = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
  return given;
}
#else
EXPORT int segjax_tiles(void) { return 0; }
#endif
