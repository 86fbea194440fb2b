/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel tells twice the size of a buffer that it was asked for. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "engine/capture/sockopt.h"

#define PASSPIDFD 76  /* Linux 6.5 */
#define PASSRIGHTS 83 /* Linux 6.16 */
#define INQ 84        /* Linux 6.17 */
#define ANY INT64_MIN /* no default that is known */

static const struct known {
	int option;
	int64_t normal;
	int force; /* does the same without the system's limit */
	bool is_time;
} known[] = {
	{ SO_SNDBUF, ANY, SO_SNDBUFFORCE },
	{ SO_RCVBUF, ANY, SO_RCVBUFFORCE },
	{ SO_RCVTIMEO, 0, .is_time = true },
	{ SO_SNDTIMEO, 0, .is_time = true },
	{ SO_RCVLOWAT, 1 },
	{ SO_PEEK_OFF, -1 },
	{ SO_PRIORITY, 0 },
	{ SO_MARK, 0 },
	{ SO_REUSEADDR, 0 },
	{ SO_REUSEPORT, 0 },
	{ SO_BROADCAST, 0 },
	{ SO_KEEPALIVE, 0 },
	{ SO_OOBINLINE, 0 },
	{ SO_TIMESTAMP, 0 },
	{ SO_TIMESTAMPNS, 0 },
	{ SO_PASSCRED, 0 },
	{ SO_PASSSEC, 0 },
	{ PASSPIDFD, 0 },
	{ PASSRIGHTS, 1 },
	{ INQ, 0 },
};
#define N_KNOWN (sizeof(known) / sizeof(known[0]))
_Static_assert(N_KNOWN <= CKPT_SOCKOPT_MAX, "room for all of them");

static bool get(int fd, const struct known *k, int64_t *valuep)
{
	struct timeval tv = { 0 };
	int n = 0;
	socklen_t len = k->is_time ? sizeof(tv) : sizeof(n);

	if (getsockopt(fd, SOL_SOCKET, k->option, k->is_time ? (void *)&tv : &n, &len) < 0)
		return false;
	*valuep = k->is_time ? tv.tv_sec * 1000000ll + tv.tv_usec : n;
	return true;
}

static int set(int fd, const struct known *k, int64_t value)
{
	struct timeval tv = { value / 1000000, value % 1000000 };
	int n = k->force ? value / 2 : value;

	if (k->is_time)
		return setsockopt(fd, SOL_SOCKET, k->option, &tv, sizeof(tv));
	if (k->force && setsockopt(fd, SOL_SOCKET, k->force, &n, sizeof(n)) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, k->option, &n, sizeof(n));
}

size_t ckpt_sockopt_get(int fd, struct ckpt_sockopt opt[CKPT_SOCKOPT_MAX])
{
	size_t n = 0;
	int64_t value;

	for (size_t i = 0; i < N_KNOWN; i++)
		if (get(fd, &known[i], &value) && value != known[i].normal)
			opt[n++] = (struct ckpt_sockopt){ known[i].option, value };
	return n;
}

bool ckpt_sockopt_sane(const struct ckpt_sockopt *opt)
{
	for (size_t i = 0; i < N_KNOWN; i++)
		if (known[i].option == opt->option)
			return known[i].is_time ?
				       opt->value >= 0 :
				       opt->value >= INT32_MIN && opt->value <= INT32_MAX;
	return false;
}

/* What this kernel has not and nobody changed need not be set. Where a buffer may not be as large
 * as it was it gets the largest that may be had: it is a matter of speed. */
int ckpt_sockopt_set(int fd, const struct ckpt_sockopt *opt, size_t n, struct ckpt_err *err)
{
	for (size_t i = 0; i < N_KNOWN; i++) {
		int64_t want = known[i].normal, now = want;

		for (size_t j = 0; j < n; j++)
			if (opt[j].option == known[i].option)
				want = opt[j].value;
		get(fd, &known[i], &now);
		if (want != ANY && want != now && set(fd, &known[i], want) < 0)
			return ckpt_fail(err, -errno, "cannot set its option %d to %lld",
					 known[i].option, (long long)want);
	}
	return 0;
}

void ckpt_sockopt_widen(int fd)
{
	set(fd, &known[0], INT32_MAX - 1);
}

bool ckpt_sockopt_has_filter(int fd)
{
	socklen_t len = 0;

	return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &len) < 0 ? errno == EACCES :
									   len > 0;
}
