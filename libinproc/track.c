/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is mapped, closed and deleted (as with dlopen, or shm_unlink) can be read by nobody
 * without privilege any more. So it is opened before it goes, at a high number, until it is mapped
 * no longer. /proc/self/maps knows what is mapped: no call that maps is watched, and looking there
 * costs only who deletes.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "libinproc/wrap.h"

#define N_HELD 64 /* one bit each in a uint64_t */

enum { FREE, BUSY, HELD };

/* Threads take an entry with one exchange of STATE. In the order of their numbers the descriptors
 * are the program's: it may close them all. */
static struct held {
	uint32_t state;
	int fd;            /* -1: not yet */
	uint64_t dev, ino; /* as in /proc/self/maps */
	dev_t st_dev;      /* as stat(2) says; btrfs and overlays differ */
} held[N_HELD];

/* ---- what is held ---- */

/* The program may have closed it, and have something else there now. */
static bool is_ours(const struct held *h)
{
	struct stat st;

	return h->fd >= 0 && ckpt_sys(SYS_fstat, h->fd, &st) == 0 && st.st_ino == h->ino &&
	       st.st_dev == h->st_dev;
}

static bool change(struct held *h, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&h->state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static void drop(struct held *h)
{
	if (is_ours(h))
		ckpt_sys(SYS_close, h->fd);
	h->fd = -1;
	h->ino = 0;
	__atomic_store_n(&h->state, FREE, __ATOMIC_RELEASE);
}

/* A file that is mapped: those that are held for it stay. */
static void mark(struct ckpt_scan *s, uint64_t dev, uint64_t ino)
{
	for (int i = 0; i < N_HELD; i++) {
		if (held[i].ino == ino && held[i].dev == dev)
			s->seen |= 1ull << i;
	}
}

static uint64_t all_held(void)
{
	uint64_t all = 0;

	for (int i = 0; i < N_HELD; i++) {
		if (__atomic_load_n(&held[i].state, __ATOMIC_ACQUIRE) == HELD)
			all |= 1ull << i;
	}
	return all;
}

static void drop_these(uint64_t which)
{
	for (int i = 0; i < N_HELD; i++) {
		if ((which & 1ull << i) && change(&held[i], HELD, BUSY))
			drop(&held[i]);
	}
}

/* A descriptor at a high number, or -1. Other threads could see it at the lowest one, between two
 * calls: whatever brings one from elsewhere (SCM_RIGHTS, pidfd_getfd, io_uring) begins there, too,
 * and only what is open already can be given a number. */
static int open_high(int dirfd, const char *path, const struct stat *st)
{
	int low, fd;
	struct stat is;

	/* A link that is there by now leads to another file, which is found out; O_NOFOLLOW would
	 * be a flag that no restore gives back. */
	low = ckpt_sys(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (low < 0)
		return -1;
	fd = ckpt_sys(SYS_fstat, low, &is) < 0 || is.st_ino != st->st_ino ||
			     is.st_dev != st->st_dev ?
		     -1 :
		     (int)ckpt_sys(SYS_fcntl, low, F_DUPFD_CLOEXEC, CKPT_LOWEST_FD);
	ckpt_sys(SYS_close, low);
	return fd < 0 ? -1 : fd;
}

static int hold(int dirfd, const char *path, const struct stat *st, const struct ckpt_scan *s)
{
	for (int i = 0; i < N_HELD; i++) {
		struct held *h = &held[i];

		if (!change(h, FREE, BUSY))
			continue;
		h->dev = s->mapped_dev;
		h->ino = st->st_ino;
		h->st_dev = st->st_dev;
		ckpt_lock(&ckpt_session->opening);
		h->fd = open_high(dirfd, path, st);
		ckpt_unlock(&ckpt_session->opening);
		if (h->fd >= 0)
			return i;
		drop(h);
		return -1;
	}
	return -1;
}

static bool is_held(const struct stat *st)
{
	for (int i = 0; i < N_HELD; i++) {
		if (__atomic_load_n(&held[i].state, __ATOMIC_ACQUIRE) == HELD &&
		    held[i].ino == st->st_ino && held[i].st_dev == st->st_dev && is_ours(&held[i]))
			return true;
	}
	return false;
}

/* The entry, or -1. */
static int look_and_hold(int dirfd, const char *path, const struct stat *st)
{
	struct ckpt_scan s = { .each = mark, .dev = st->st_dev, .ino = st->st_ino };
	uint64_t before = all_held();

	s.base = strrchr(path, '/');
	s.base = s.base ? s.base + 1 : path;
	if (!ckpt_scan_maps(&s))
		return -1;
	drop_these(before & ~s.seen);
	return s.mapped ? hold(dirfd, path, st, &s) : -1;
}

/* Around fork(3); the child finds the lock cleared. */
void ckpt_track_fork_begin(void)
{
	ckpt_lock(&ckpt_session->opening);
}

void ckpt_track_fork_end(void)
{
	ckpt_unlock(&ckpt_session->opening);
}

int ckpt_track_begin(int dirfd, const char *path)
{
	const uint64_t all = ~0ull;
	struct stat st;
	uint64_t mask;
	int at;

	if (!ckpt_config.on || !ckpt_is_own_memory())
		return -1;
	/* An empty file has nothing that could be lost. */
	if (ckpt_sys(SYS_newfstatat, dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) || !st.st_size || is_held(&st))
		return -1;
	/* Neither a checkpoint nor a handler of the program must find our descriptors where the
	 * program's are. */
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, 8);
	at = look_and_hold(dirfd, path, &st);
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
	return at;
}

void ckpt_track_end(int at, bool gone)
{
	if (at < 0)
		return;
	if (gone)
		__atomic_store_n(&held[at].state, HELD, __ATOMIC_RELEASE);
	else
		drop(&held[at]);
}

/* ---- for the checkpoint: nobody else runs ---- */

void ckpt_track_restored(void)
{
	struct stat st;

	for (int i = 0; i < N_HELD; i++) {
		struct held *h = &held[i];

		if (h->state == FREE || h->fd < 0)
			continue;
		if (ckpt_sys(SYS_fstat, h->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			h->ino = 0;
			continue;
		}
		h->dev = h->st_dev = st.st_dev;
		h->ino = st.st_ino;
	}
}
