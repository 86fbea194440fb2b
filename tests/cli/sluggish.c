/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into ckpt: every large piece of a file takes a moment, and the first one longer than
 * anybody waits without being told anything. So is a small image a long operation.
 */
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LARGE (64u << 10)
#define FIRST_NS 600000000l
#define EACH_NS 110000000l

static void dawdle(size_t len)
{
	static bool begun;
	struct timespec ns = { 0, EACH_NS };

	if (len < LARGE)
		return;
	if (!__atomic_exchange_n(&begun, true, __ATOMIC_RELAXED))
		ns.tv_nsec = FIRST_NS;
	while (nanosleep(&ns, &ns) < 0)
		;
}

ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	dawdle(len);
	return syscall(SYS_pread64, fd, buf, len, at);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	dawdle(len);
	return syscall(SYS_pwrite64, fd, buf, len, at);
}

/* As programs are told to call them where files may be large. */
ssize_t pread64(int fd, void *buf, size_t len, off_t at) __attribute__((alias("pread")));
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at) __attribute__((alias("pwrite")));
