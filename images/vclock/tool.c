/* vclock: changes a node's wall clock from outside of what the node's own programs do. Linked statically, so that it is
 * not given the very clock that it changes.
 *
 *     vclock FILE step NS     forward or (negative) back
 *     vclock FILE set NS      to a time since 1970
 *     vclock FILE drift PPM   the oscillator's own error from now on
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static int64_t real_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * SECOND + t.tv_nsec;
}

static void drift(vclock *clock, double ppm) {
  clock_lock(clock);
  parameters p = clock_rebased(clock);
  clock->oscillator_ppm = ppm;
  clock_publish(clock, p);
  clock_unlock(clock);
}

int main(int argc, char **argv) {
  int writable;
  vclock *clock = argc == 4 ? clock_map(argv[1], &writable) : NULL;
  char *end = "?";
  if (clock && writable) {
    if (!strcmp(argv[2], "drift")) {
      double ppm = strtod(argv[3], &end);
      if (!*end) drift(clock, ppm);
    } else if (!strcmp(argv[2], "step") || !strcmp(argv[2], "set")) {
      int64_t ns = strtoll(argv[3], &end, 10);
      if (!*end) clock_step(clock, ns, !strcmp(argv[2], "set"));
    }
  }
  if (*end) fprintf(stderr, "usage: vclock FILE step NS | set NS | drift PPM, where FILE is a clock that may be written\n");
  return *end ? 2 : 0;
}
