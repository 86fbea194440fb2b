/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers that our signal has cut short get their rest: without a checkpoint they would have
 * waited until it was there. Whatever the program gave them (a buffer, pieces, messages) is gone on
 * with as pieces, few at a time, for the stack that we are on is the program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define AT_ONCE 8
#define MEMORY_DEVICES 1 /* their major number: zero, random, urandom */
/* What must not be done twice, or is not all that waits. */
#define NOT_GONE_ON_WITH \
	(MSG_DONTWAIT | MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE | MSG_ZEROCOPY | MSG_FASTOPEN)

/* In the program's memory: nothing of it is believed. */
struct transfer {
	long nr; /* readv, writev, recvmsg, sendmsg: how it is gone on with */
	int fd, flags;
	struct iovec one; /* the only piece, if PIECES is 0 */
	uint64_t pieces, n;
	uint64_t whole; /* bytes that it waits for */
	uint64_t at;    /* the piece that DONE is in */
	uint64_t skip;  /* of that piece */
};

static bool piece(const struct transfer *t, uint64_t i, struct iovec *v)
{
	*v = t->one;
	return !t->pieces || ckpt_own_read(t->pieces + i * sizeof(*v), v, sizeof(*v));
}

/* ---- what it is ---- */

static bool decode_message(struct transfer *t, long nr, uint64_t at)
{
	struct msghdr m;

	if (!ckpt_own_read(at, &m, sizeof(m)))
		return false;
	t->nr = nr;
	t->pieces = (uintptr_t)m.msg_iov;
	t->n = m.msg_iovlen;
	/* How much room there was for what comes along has been overwritten by how much came. */
	return nr == SYS_sendmsg ? !m.msg_name : !m.msg_control;
}

static bool decode(struct transfer *t, long nr, const uint64_t arg[6])
{
	*t = (struct transfer){ .fd = arg[0], .one = { (void *)arg[1], arg[2] }, .n = 1 };
	switch (nr) {
	case SYS_read:
	case SYS_write:
		t->nr = nr == SYS_read ? SYS_readv : SYS_writev;
		return true;
	case SYS_readv:
	case SYS_writev:
		t->nr = nr;
		t->pieces = arg[1];
		t->n = arg[2];
		return true;
	case SYS_recvfrom:
	case SYS_sendto:
		t->nr = nr == SYS_recvfrom ? SYS_recvmsg : SYS_sendmsg;
		t->flags = arg[3];
		return nr == SYS_recvfrom || !arg[4];
	case SYS_recvmsg:
	case SYS_sendmsg:
		t->flags = arg[2];
		return decode_message(t, nr, arg[1]);
	default:
		return false;
	}
}

static int option(int fd, int name)
{
	int value = 0;
	uint32_t len = sizeof(value);

	ckpt_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &len);
	return value;
}

static bool total(const struct transfer *t, uint64_t *sump)
{
	struct iovec v;

	*sump = 0;
	for (uint64_t i = 0; i < t->n && i < IOV_MAX; i++) {
		if (!piece(t, i, &v))
			return false;
		*sump += v.iov_len;
	}
	return true;
}

static bool is_blocking(int fd, struct stat *st)
{
	return ckpt_sys(SYS_fstat, fd, st) >= 0 && !(ckpt_sys(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK);
}

static bool is_write(const struct transfer *t)
{
	return t->nr == SYS_writev || t->nr == SYS_sendmsg;
}

/* For how many bytes such a call waits; 0: it takes what there is. */
static uint64_t whole(const struct transfer *t)
{
	bool writes = is_write(t);
	struct stat st;
	uint64_t sum, lowest;

	if ((t->flags & NOT_GONE_ON_WITH) || !is_blocking(t->fd, &st) || !total(t, &sum))
		return 0;
	if (S_ISFIFO(st.st_mode))
		return writes ? sum : 0;
	if (S_ISCHR(st.st_mode))
		return major(st.st_rdev) == MEMORY_DEVICES && !writes ? sum : 0;
	if (!S_ISSOCK(st.st_mode) || option(t->fd, SO_TYPE) != SOCK_STREAM)
		return 0;
	if (writes || (t->flags & MSG_WAITALL))
		return sum;
	lowest = option(t->fd, SO_RCVLOWAT);
	return lowest < sum ? lowest : sum;
}

static bool is_list(long nr)
{
	return nr == SYS_sendmmsg || nr == SYS_recvmmsg;
}

/* Of a list of messages. One that returned early because its time was over is none. */
static bool list_waits(long nr, const uint64_t arg[6])
{
	struct timespec left;
	struct stat st;

	if ((arg[3] & (NOT_GONE_ON_WITH | MSG_WAITFORONE)) || !is_blocking(arg[0], &st))
		return false;
	return nr == SYS_sendmmsg || !arg[4] ||
	       (ckpt_own_read(arg[4], &left, sizeof(left)) && (left.tv_sec || left.tv_nsec));
}

bool ckpt_transfer_is_cut(long nr, const uint64_t arg[6], int64_t done)
{
	struct transfer t;
	struct stat st;

	if (done <= 0)
		return false;
	if (nr == SYS_getrandom)
		return (uint64_t)done < arg[1];
	if (nr == SYS_sendfile)
		return (uint64_t)done < arg[3] && is_blocking(arg[0], &st) && S_ISSOCK(st.st_mode);
	if (is_list(nr))
		return (uint64_t)done <= arg[2] && list_waits(nr, arg);
	return decode(&t, nr, arg) && (uint64_t)done < whole(&t);
}

/* ---- going on ---- */

/* Goes over BYTES that are done. */
static bool step(struct transfer *t, uint64_t bytes)
{
	struct iovec v;

	for (; t->at < t->n; t->at++, t->skip = 0) {
		if (!piece(t, t->at, &v))
			return false;
		if (bytes < v.iov_len - t->skip) {
			t->skip += bytes;
			return true;
		}
		bytes -= v.iov_len - t->skip;
	}
	return false;
}

/* The next ones, of at most MAX bytes. */
static uint64_t gather(const struct transfer *t, uint64_t max, struct iovec v[AT_ONCE], size_t *np)
{
	uint64_t sum = 0;

	*np = 0;
	for (uint64_t i = t->at; i < t->n && *np < AT_ONCE && sum < max; i++) {
		struct iovec *one = &v[*np];
		uint64_t skip = i == t->at ? t->skip : 0;

		if (!piece(t, i, one))
			break;
		one->iov_base = (char *)one->iov_base + skip;
		one->iov_len -= skip;
		if (one->iov_len > max - sum)
			one->iov_len = max - sum;
		sum += one->iov_len;
		*np += one->iov_len != 0;
	}
	return sum;
}

/* LIMIT of the socket's, in ns; 0: none. */
static int64_t transfer_pieces(const struct transfer *t, struct iovec *v, size_t n, int64_t limit)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
	bool plain = t->nr == SYS_readv || t->nr == SYS_writev;
	const uint64_t arg[6] = { t->fd, plain ? (uintptr_t)v : (uintptr_t)&m,
				  plain ? n : (uint64_t)t->flags };

	return limit ? ckpt_try_until(t->nr, arg, limit, NULL) : ckpt_again_call(t->nr, arg);
}

/* Until something else than our signal ends it. */
static int64_t go_on(struct transfer *t, int64_t done)
{
	struct iovec v[AT_ONCE];
	uint64_t want;
	int64_t r = done, limit;
	size_t n;

	t->whole = whole(t);
	limit = ckpt_socket_limit(t->fd, is_write(t) ? SO_SNDTIMEO : SO_RCVTIMEO);
	do {
		if (!step(t, r > 0 ? r : 0) || (uint64_t)done >= t->whole)
			break;
		want = gather(t, t->whole - done, v, &n);
		if (!want)
			break;
		ckpt_again_met = false;
		r = transfer_pieces(t, v, n, limit);
		done += r > 0 ? r : 0;
	} while ((uint64_t)r == want || (limit && r > 0) ||
		 (ckpt_again_met && (r > 0 || r == -EINTR)));
	return done;
}

/* The last of the messages that are DONE may be one of which only a part was sent. */
static bool finish_last(long nr, const uint64_t arg[6], uint64_t done)
{
	uint64_t at = arg[1] + (done - 1) * sizeof(struct mmsghdr);
	uint64_t len_at = at + offsetof(struct mmsghdr, msg_len);
	struct transfer t = { .fd = arg[0], .flags = arg[3] };
	uint32_t len;

	if (!ckpt_own_read(len_at, &len, sizeof(len)) ||
	    !decode_message(&t, nr == SYS_sendmmsg ? SYS_sendmsg : SYS_recvmsg, at) ||
	    len >= whole(&t))
		return true;
	len = go_on(&t, len);
	ckpt_own_write(len_at, &len, sizeof(len));
	return len >= t.whole;
}

static int64_t finish_list(long nr, const uint64_t arg[6], int64_t done)
{
	uint64_t rest[6];
	int64_t r;

	do {
		if (!finish_last(nr, arg, done) || (uint64_t)done >= arg[2])
			break;
		memcpy(rest, arg, sizeof(rest));
		rest[1] = arg[1] + done * sizeof(struct mmsghdr);
		rest[2] = arg[2] - done;
		ckpt_again_met = false;
		r = ckpt_again_call(nr, rest);
		done += r > 0 ? r : 0;
	} while (ckpt_again_met && (r > 0 || r == -EINTR));
	return done;
}

/* Calls whose buffer moves (MOVES: that argument) and whose count is argument COUNT. */
static int64_t finish_count(long nr, const uint64_t arg[6], int moves, int count, int64_t done)
{
	uint64_t rest[6];
	int64_t r;

	do {
		memcpy(rest, arg, sizeof(rest));
		if (moves >= 0)
			rest[moves] += done;
		rest[count] -= done;
		ckpt_again_met = false;
		r = ckpt_again_call(nr, rest);
		done += r > 0 ? r : 0;
	} while ((uint64_t)done < arg[count] && ckpt_again_met && (r > 0 || r == -EINTR));
	return done;
}

int64_t ckpt_transfer_finish(long nr, const uint64_t arg[6], int64_t done)
{
	struct transfer t;

	if (nr == SYS_getrandom)
		return finish_count(nr, arg, 0, 1, done);
	if (nr == SYS_sendfile)
		return finish_count(nr, arg, -1, 3, done);
	if (is_list(nr))
		return finish_list(nr, arg, done);
	return decode(&t, nr, arg) ? go_on(&t, done) : done;
}
