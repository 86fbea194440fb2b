/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/clocks.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"

#define NS 1000000000ll

uint64_t ckpt_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

uint64_t ckpt_now_ns(void)
{
	return ckpt_clock_ns(CLOCK_MONOTONIC);
}

int64_t ckpt_clock_now(int clock)
{
	return ckpt_clock_ns(clock == CKPT_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_BOOTTIME);
}

static int offsets_of(const char *path, int64_t offset[CKPT_N_CLOCKS])
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : ckpt_clock_offsets(fd, offset, &ignored);
}

int64_t ckpt_clock_ahead(pid_t pid, int clock)
{
	int64_t theirs[CKPT_N_CLOCKS], ours[CKPT_N_CLOCKS];
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/timens_offsets", pid);
	if (offsets_of(path, theirs) < 0 || offsets_of("/proc/self/timens_offsets", ours) < 0)
		return 0;
	return theirs[clock] - ours[clock];
}

/* "monotonic      86400         0\nboottime ...": seconds and ns. */
int ckpt_clock_offsets(int fd, int64_t offset[CKPT_N_CLOCKS], struct ckpt_err *err)
{
	long long s[CKPT_N_CLOCKS], ns[CKPT_N_CLOCKS];
	char text[256];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "monotonic %lld %lld boottime %lld %lld", &s[0], &ns[0], &s[1], &ns[1]) !=
	    4)
		return ckpt_fail(err, n < 0 ? -errno : -EBADMSG, "timens_offsets: cannot read");
	for (int i = 0; i < CKPT_N_CLOCKS; i++)
		offset[i] = s[i] * NS + ns[i];
	return 0;
}
