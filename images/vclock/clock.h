/* A node's wall clock: a page of a file that every process of the node maps.
 *
 *     REALTIME = v0 + d * (1 + rate) + slewed(d),   d = CLOCK_MONOTONIC - m0
 *
 * CLOCK_MONOTONIC is left alone, so timers go on as they were. Readers never wait: the parameters stand twice, and a
 * writer fills the slot that is not in use before it turns `sequence`. Writers exclude each other with `lock`, which is
 * taken from an owner that has died.
 *
 * testbed/runtime/vclock.py reads and creates the same page; a change of the layout is a change of VERSION in both.
 */
#ifndef TESTBED_CLOCK_H
#define TESTBED_CLOCK_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MAGIC 0x4b4c4356u        /* "VCLK" */
#define VERSION 1u
#define PHASE_LIMIT 16000000L    /* us: kernel/time/ntp.c NTP_PHASE_LIMIT */
#define FREQUENCY_LIMIT 32768000 /* 2^-16 ppm: 500 ppm, MAXFREQ_SCALED */
#define STEAL_NS 50000000        /* no writer holds the lock that long */

typedef struct {
  int64_t m0, v0;   /* the same moment, monotonic and virtual, ns */
  double rate;      /* how much faster than CLOCK_MONOTONIC: 1e-6 is one ppm */
  double slew;      /* ns still to be slewed in at m0 */
  double tau;       /* s: the time constant of an exponential slew; 0: linear, 500 ppm */
} parameters;

typedef struct {
  uint32_t magic, version;
  _Atomic uint32_t sequence, lock;
  parameters slot[2];
  double oscillator_ppm; /* the oscillator's own error, for the testbed to set */
  /* What adjtimex(2) shows and sets; its units. */
  int64_t frequency, tick, status, maxerror, esterror, constant, tai;
  int64_t maxerror_m, offset_m; /* monotonic ns of the last change of maxerror, and of the last PLL offset */
  int64_t steps, last_step_ns, boot_v0, boot_m0;
} vclock;

static int64_t real_ns(clockid_t id); /* the kernel's own clock: differs between the shim and the tool */

static inline vclock *clock_map(const char *path, int *writable) {
  struct stat found;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  *writable = fd >= 0;
  if (fd < 0) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  vclock *clock = MAP_FAILED;
  if (!fstat(fd, &found) && found.st_size >= (off_t)sizeof *clock)
    clock = mmap(NULL, sizeof *clock, PROT_READ | (*writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  close(fd);
  return clock == MAP_FAILED || clock->magic != MAGIC || clock->version != VERSION ? NULL : clock;
}

/* ns of `slew` that are done `d` ns after m0. */
static inline double clock_slewed(const parameters *p, double d) {
  if (!p->slew) return 0;
  if (p->tau > 0) return p->slew * -expm1(-d * 1e-9 / p->tau);
  double most = d * 500e-6;
  return fabs(p->slew) <= most ? p->slew : copysign(most, p->slew);
}

static inline int64_t clock_at(const parameters *p, int64_t monotonic) {
  double d = (double)(monotonic - p->m0);
  return p->v0 + (monotonic - p->m0) + (int64_t)(d * p->rate + clock_slewed(p, d));
}

/* Parameters and a monotonic time that belong together. */
static inline parameters clock_parameters(vclock *clock, int64_t *monotonic) {
  parameters p;
  uint32_t sequence;
  do {
    sequence = atomic_load_explicit(&clock->sequence, memory_order_acquire);
    p = *(volatile parameters *)&clock->slot[sequence & 1];
    *monotonic = real_ns(CLOCK_MONOTONIC);
    atomic_thread_fence(memory_order_acquire);
  } while (sequence != atomic_load_explicit(&clock->sequence, memory_order_relaxed));
  return p;
}

static inline int64_t clock_now(vclock *clock) {
  int64_t monotonic;
  parameters p = clock_parameters(clock, &monotonic);
  return clock_at(&p, monotonic);
}

static inline void clock_lock(vclock *clock) {
  int64_t begun = real_ns(CLOCK_MONOTONIC);
  uint32_t open = 0;
  while (!atomic_compare_exchange_weak(&clock->lock, &open, 1)) {
    open = 0;
    if (real_ns(CLOCK_MONOTONIC) - begun > STEAL_NS) break;
  }
}

static inline void clock_unlock(vclock *clock) { atomic_store(&clock->lock, 0); }

/* The current parameters moved to now: what has been slewed is part of v0 then. With the lock held. */
static inline parameters clock_rebased(vclock *clock) {
  parameters p = clock->slot[atomic_load(&clock->sequence) & 1];
  int64_t now = real_ns(CLOCK_MONOTONIC);
  double done = clock_slewed(&p, (double)(now - p.m0));
  p.v0 = clock_at(&p, now);
  p.slew -= done;
  p.m0 = now;
  return p;
}

/* Make parameters the current ones, at the rate that oscillator and adjtimex now give. With the lock held. */
static inline void clock_publish(vclock *clock, parameters p) {
  double set = 1 + clock->frequency / 65536e6 + (clock->tick - 10000) * 1e-4;
  p.rate = (1 + clock->oscillator_ppm * 1e-6) * set - 1;
  uint32_t next = atomic_load(&clock->sequence) + 1;
  clock->slot[next & 1] = p;
  atomic_store_explicit(&clock->sequence, next, memory_order_release);
}

/* settimeofday's semantics: the clock jumps and counts as unsynchronised. */
static inline void clock_step(vclock *clock, int64_t ns, int absolute) {
  clock_lock(clock);
  parameters p = clock_rebased(clock);
  int64_t by = absolute ? ns - p.v0 : ns;
  p.v0 += by;
  p.slew = 0;
  clock->status |= STA_UNSYNC;
  clock->maxerror = clock->esterror = PHASE_LIMIT;
  clock->maxerror_m = p.m0;
  if (by) {
    clock->steps++;
    clock->last_step_ns = by;
  }
  clock_publish(clock, p);
  clock_unlock(clock);
}

#endif
