/* vclock.so: gives the programs of a node the node's own wall clock. Loaded by /etc/ld.so.preload.
 *
 * Programs read that clock, and those that may write its file set it: settimeofday, clock_settime, adjtime, adjtimex and
 * clock_adjtime change the page and never the kernel, so an unmodified chronyd disciplines it without CAP_SYS_TIME.
 * Time stamps that the kernel put on packets, and absolute deadlines on CLOCK_REALTIME, are moved between the two.
 *
 *     VCLOCK_FILE    the page; /run/testbed/vclock if not set. Without the file every call passes through.
 *     VCLOCK_OFF=1   every call passes through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "clock.h"

#define NEVER (INT64_MAX / SECOND / 2) /* s, in the year 2116; a later deadline is none */
#define EXPORT __attribute__((visibility("default")))
#define REAL(name) \
  ({ \
    static __typeof__(&name) found; \
    if (!found) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    found; \
  })
/* Of functions that glibc has in several versions, dlsym may give the oldest. */
#define REAL_VERSION(name, version) \
  ({ \
    static __typeof__(&name) found; \
    if (!found) found = (__typeof__(&name))dlvsym(RTLD_NEXT, #name, version); \
    if (!found) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    found; \
  })

static vclock *clock_page;
static int writable;

static int64_t real_ns(clockid_t id) {
  struct timespec t;
  REAL(clock_gettime)(id, &t);
  return t.tv_sec * SECOND + t.tv_nsec;
}

/* The node's clock, or NULL. May be called before constructors have run: others' constructors ask for the time. */
__attribute__((constructor)) static vclock *node_clock(void) {
  static int looked;
  if (!looked) {
    int saved = errno;
    looked = 1;
    const char *off = getenv("VCLOCK_OFF"), *path = getenv("VCLOCK_FILE");
    if (!(off && *off == '1')) clock_page = clock_map(path ? path : "/run/testbed/vclock", &writable);
    errno = saved;
  }
  return clock_page;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static void as_timespec(int64_t ns, struct timespec *t) {
  t->tv_sec = ns / SECOND;
  t->tv_nsec = ns % SECOND;
  if (t->tv_nsec < 0) {
    t->tv_nsec += SECOND;
    t->tv_sec--;
  }
}

static int64_t node_ns(void) { return node_clock() ? clock_now(clock_page) : real_ns(CLOCK_REALTIME); }

EXPORT int clock_gettime(clockid_t id, struct timespec *t) {
  int realtime = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_REALTIME_ALARM;
  if (!node_clock() || !(realtime || id == CLOCK_TAI)) return REAL(clock_gettime)(id, t);
  as_timespec(clock_now(clock_page) + (id == CLOCK_TAI ? clock_page->tai * SECOND : 0), t);
  return 0;
}

EXPORT time_t time(time_t *to) {
  struct timespec t;
  as_timespec(node_ns(), &t);
  if (to) *to = t.tv_sec;
  return t.tv_sec;
}

EXPORT int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  struct timespec t;
  if (zone) memset(zone, 0, sizeof(struct timezone));
  if (!to) return 0;
  as_timespec(node_ns(), &t);
  to->tv_sec = t.tv_sec;
  to->tv_usec = t.tv_nsec / 1000;
  return 0;
}

EXPORT int timespec_get(struct timespec *t, int base) {
  return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, t) ? base : 0;
}

/* ---- setting ------------------------------------------------------------------------------------------------ */

static int step(int64_t ns, int absolute) {
  if (!writable) {
    errno = EPERM;
    return -1;
  }
  clock_step(clock_page, ns, absolute);
  return 0;
}

/* adjtime(3): a slew of 500 ppm until the offset is done. Source: ADJ_OFFSET_SINGLESHOT in kernel/time/ntp.c. */
static long singleshot(const struct timex *t) {
  int64_t now;
  parameters p = clock_parameters(clock_page, &now);
  long left = p.tau > 0 ? 0 : lround((p.slew - clock_slewed(&p, (double)(now - p.m0))) / 1000);
  if (t->modes == ADJ_OFFSET_SS_READ) return left; /* which everybody may, also who cannot write the page */
  clock_lock(clock_page);
  p = clock_rebased(clock_page);
  p.slew = t->offset * 1000.0;
  p.tau = 0;
  clock_publish(clock_page, p);
  clock_unlock(clock_page);
  return left;
}

static int64_t limited(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

/* The phase-locked loop of kernel/time/ntp.c, ntp_update_offset(): it slews exponentially, and learns a frequency. */
static void phase_locked(parameters *p, const struct timex *t) {
  vclock *c = clock_page;
  double offset = t->offset * (c->status & STA_NANO ? 1.0 : 1000.0);
  if (fabs(offset) > 5e8) offset = copysign(5e8, offset);
  double since = c->offset_m ? (p->m0 - c->offset_m) * 1e-9 : 0, most = exp2(2 + 1 + c->constant);
  if (since > most) since = most;
  if (!(c->status & STA_FREQHOLD))
    c->frequency += (int64_t)(offset * since / exp2(2 * (2 + 2 + c->constant)) * 65536e-3);
  c->frequency = limited(c->frequency, -FREQUENCY_LIMIT, FREQUENCY_LIMIT);
  c->offset_m = p->m0;
  p->slew = offset;
  p->tau = exp2(2 + c->constant);
}

static void change_status(parameters *p, const struct timex *t) {
  vclock *c = clock_page;
  if (!(t->status & STA_PLL) && (c->status & STA_PLL)) p->slew = 0;
  if ((t->status & STA_PLL) && !(c->status & STA_PLL)) c->offset_m = p->m0;
  c->status = (c->status & (STA_NANO | STA_CLOCKERR)) | (t->status & ~STA_RONLY);
}

/* process_adjtimex_modes() of kernel/time/ntp.c, in its order. */
static void adjust(const struct timex *t) {
  vclock *c = clock_page;
  unsigned modes = t->modes;
  clock_lock(c);
  parameters p = clock_rebased(c);
  if (modes & ADJ_STATUS) change_status(&p, t);
  if (modes & ADJ_NANO) c->status |= STA_NANO;
  if (modes & ADJ_MICRO) c->status &= ~STA_NANO;
  if (modes & ADJ_FREQUENCY) c->frequency = limited(t->freq, -FREQUENCY_LIMIT, FREQUENCY_LIMIT);
  if (modes & ADJ_MAXERROR) {
    c->maxerror = t->maxerror;
    c->maxerror_m = p.m0;
  }
  if (modes & ADJ_ESTERROR) c->esterror = t->esterror;
  if (modes & ADJ_TIMECONST) c->constant = limited(t->constant + (c->status & STA_NANO ? 0 : 4), 0, 10);
  if ((modes & ADJ_TAI) && !(modes & ADJ_SETOFFSET)) c->tai = t->constant;
  if ((modes & ADJ_OFFSET) && (c->status & STA_PLL)) phase_locked(&p, t);
  if (modes & ADJ_TICK) c->tick = t->tick;
  clock_publish(c, p);
  clock_unlock(c);
}

/* What adjtimex(2) reports. The maximum error grows by 500 us each second that nothing renews it. */
static int report(struct timex *t) {
  vclock *c = clock_page;
  int64_t now;
  parameters p = clock_parameters(c, &now);
  int64_t ns = clock_at(&p, now), error = c->maxerror + (now - c->maxerror_m) / 2000000;
  int nano = (c->status & STA_NANO) != 0;
  struct timespec at;
  as_timespec(ns, &at);
  memset(t, 0, sizeof *t);
  if (p.tau > 0) t->offset = (long)((p.slew - clock_slewed(&p, (double)(now - p.m0))) / (nano ? 1 : 1000));
  t->freq = c->frequency;
  t->maxerror = error > PHASE_LIMIT ? PHASE_LIMIT : error;
  t->esterror = c->esterror;
  t->status = c->status | (error >= PHASE_LIMIT ? STA_UNSYNC : 0);
  t->constant = c->constant;
  t->precision = 1;
  t->tolerance = FREQUENCY_LIMIT;
  t->tick = c->tick;
  t->tai = c->tai;
  t->time.tv_sec = at.tv_sec;
  t->time.tv_usec = nano ? at.tv_nsec : at.tv_nsec / 1000;
  return t->status & (STA_UNSYNC | STA_CLOCKERR) ? TIME_ERROR : TIME_OK;
}

static int node_adjtimex(struct timex *t) {
  unsigned modes = t->modes;
  if (modes && modes != ADJ_OFFSET_SS_READ && !writable) {
    errno = EPERM;
    return -1;
  }
  if ((modes & ADJ_TICK) && modes != ADJ_OFFSET_SS_READ && modes != ADJ_OFFSET_SINGLESHOT &&
      (t->tick < 9000 || t->tick > 11000)) {
    errno = EINVAL;
    return -1;
  }
  if (modes == ADJ_OFFSET_SS_READ || modes == ADJ_OFFSET_SINGLESHOT) {
    long left = singleshot(t);
    int state = report(t);
    t->modes = modes;
    t->offset = left;
    return state;
  }
  if ((modes & ADJ_SETOFFSET) &&
      (t->time.tv_usec < 0 || t->time.tv_usec >= (modes & ADJ_NANO ? SECOND : SECOND / 1000))) {
    errno = EINVAL;
    return -1;
  }
  if (modes & ADJ_SETOFFSET)
    clock_step(clock_page, t->time.tv_sec * SECOND + t->time.tv_usec * (modes & ADJ_NANO ? 1 : 1000), 0);
  if (modes) adjust(t);
  int state = report(t);
  t->modes = modes;
  return state;
}

EXPORT int clock_settime(clockid_t id, const struct timespec *t) {
  if (!node_clock() || id != CLOCK_REALTIME) return REAL(clock_settime)(id, t);
  if (t->tv_nsec < 0 || t->tv_nsec >= SECOND || t->tv_sec < 0 || t->tv_sec > NEVER) {
    errno = EINVAL;
    return -1;
  }
  return step(t->tv_sec * SECOND + t->tv_nsec, 1);
}

EXPORT int settimeofday(const struct timeval *t, const struct timezone *zone) {
  if (!node_clock()) return REAL(settimeofday)(t, zone);
  if (t && (t->tv_usec < 0 || t->tv_usec >= 1000000 || t->tv_sec < 0 || t->tv_sec > NEVER)) {
    errno = EINVAL;
    return -1;
  }
  return t ? step(t->tv_sec * SECOND + t->tv_usec * 1000LL, 1) : 0;
}

EXPORT int adjtimex(struct timex *t) { return node_clock() ? node_adjtimex(t) : REAL(adjtimex)(t); }

EXPORT int ntp_adjtime(struct timex *t) { return adjtimex(t); }

EXPORT int clock_adjtime(clockid_t id, struct timex *t) {
  return node_clock() && id == CLOCK_REALTIME ? node_adjtimex(t) : REAL(clock_adjtime)(id, t);
}

EXPORT int adjtime(const struct timeval *delta, struct timeval *old) {
  if (!node_clock()) return REAL(adjtime)(delta, old);
  struct timex t = {.modes = delta ? ADJ_OFFSET_SINGLESHOT : ADJ_OFFSET_SS_READ};
  if (delta) t.offset = delta->tv_sec * 1000000L + delta->tv_usec;
  if (node_adjtimex(&t) < 0) return -1;
  if (old) {
    old->tv_sec = t.offset / 1000000;
    old->tv_usec = t.offset % 1000000;
  }
  return 0;
}

EXPORT int ntp_gettimex(struct ntptimeval *n) {
  if (!node_clock()) return REAL(ntp_gettimex)(n);
  struct timex t = {.modes = 0};
  int state = node_adjtimex(&t);
  memset(n, 0, sizeof *n);
  n->time = t.time;
  n->maxerror = t.maxerror;
  n->esterror = t.esterror;
  n->tai = t.tai;
  return state;
}

/* ---- time stamps of packets: the kernel's clock -> the node's ---------------------------------------------- */

static void move_stamps(struct msghdr *message) {
  int64_t ahead = node_ns() - real_ns(CLOCK_REALTIME);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    /* Of SCM_TIMESTAMPING only the first of three is the kernel's own; the third is the NIC's. */
    int stamp = c->cmsg_type == SCM_TIMESTAMP || c->cmsg_type == SCM_TIMESTAMPNS || c->cmsg_type == SCM_TIMESTAMPING;
    struct timespec t;
    if (c->cmsg_level != SOL_SOCKET || !stamp || c->cmsg_len < CMSG_LEN(sizeof t)) continue;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    if (!t.tv_sec && !t.tv_nsec) continue; /* no stamp */
    int unit = c->cmsg_type == SCM_TIMESTAMP ? 1000 : 1;
    as_timespec(t.tv_sec * SECOND + t.tv_nsec * unit + ahead, &t);
    t.tv_nsec /= unit;
    memcpy(CMSG_DATA(c), &t, sizeof t);
  }
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  ssize_t got = REAL(recvmsg)(fd, message, flags);
  if (got >= 0 && node_clock() && message->msg_controllen) move_stamps(message);
  return got;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  int got = REAL(recvmmsg)(fd, messages, count, flags, timeout);
  for (int i = 0; i < got && node_clock(); i++)
    if (messages[i].msg_hdr.msg_controllen) move_stamps(&messages[i].msg_hdr);
  return got;
}

/* ---- absolute deadlines: the node's clock -> the kernel's --------------------------------------------------- */

/* The same deadline, which is one of the node's clock, on the kernel's. */
static const struct timespec *deadline(const struct timespec *at, struct timespec *real) {
  if (!node_clock() || !at || at->tv_sec > NEVER) return at;
  int64_t left = at->tv_sec * SECOND + at->tv_nsec - node_ns(), ns = real_ns(CLOCK_REALTIME) + left;
  as_timespec(ns < 0 ? 0 : ns, real);
  return real;
}

/* The same for what may be on CLOCK_MONOTONIC as well, which nothing here tells: that one counts from the boot of the
 * machine, and passes for a time before 1978. */
static const struct timespec *either(const struct timespec *at, struct timespec *real) {
  return at && at->tv_sec < (1 << 28) ? at : deadline(at, real);
}

EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m,
                                  const struct timespec *restrict at) {
  struct timespec real;
  return REAL_VERSION(pthread_cond_timedwait, "GLIBC_2.3.2")(c, m, either(at, &real));
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict at) {
  struct timespec real;
  return REAL(pthread_mutex_timedlock)(m, deadline(at, &real));
}

EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict l, const struct timespec *restrict at) {
  struct timespec real;
  return REAL(pthread_rwlock_timedrdlock)(l, deadline(at, &real));
}

EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict l, const struct timespec *restrict at) {
  struct timespec real;
  return REAL(pthread_rwlock_timedwrlock)(l, deadline(at, &real));
}

EXPORT int sem_timedwait(sem_t *restrict s, const struct timespec *restrict at) {
  struct timespec real;
  return REAL(sem_timedwait)(s, deadline(at, &real));
}

EXPORT int pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *at) {
  struct timespec real;
  return REAL(pthread_timedjoin_np)(thread, result, deadline(at, &real));
}

EXPORT int clock_nanosleep(clockid_t id, int flags, const struct timespec *at, struct timespec *left) {
  struct timespec real;
  return REAL(clock_nanosleep)(id, flags, (flags & TIMER_ABSTIME) && id == CLOCK_REALTIME ? deadline(at, &real) : at, left);
}

EXPORT int timer_settime(timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old) {
  struct itimerspec set = *value;
  int armed = value->it_value.tv_sec || value->it_value.tv_nsec;
  if ((flags & TIMER_ABSTIME) && armed) set.it_value = *either(&value->it_value, &set.it_value);
  return REAL_VERSION(timer_settime, "GLIBC_2.3.3")(timer, flags, &set, old);
}

EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old) {
  struct itimerspec set = *value;
  int armed = value->it_value.tv_sec || value->it_value.tv_nsec;
  if ((flags & TFD_TIMER_ABSTIME) && armed) set.it_value = *either(&value->it_value, &set.it_value);
  return REAL(timerfd_settime)(fd, flags, &set, old);
}
