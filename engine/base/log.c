/* SPDX-License-Identifier: Apache-2.0 */
/* The log: a line is put together first and written by one write(2), so that lines of several
 * processes do not mix. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/log.h"

void ckpt_log_init(struct ckpt_log *log, int fd, int level)
{
	log->fd = fd;
	log->level = level;
	clock_gettime(CLOCK_MONOTONIC, &log->start);
}

static int stamp(const struct ckpt_log *log, char *buf, size_t size)
{
	struct timespec now;
	long long us;

	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (now.tv_sec - log->start.tv_sec) * 1000000ll +
	     (now.tv_nsec - log->start.tv_nsec) / 1000;
	return snprintf(buf, size, "(%02lld.%06lld) ", us / 1000000, us % 1000000);
}

void ckpt_logf(struct ckpt_log *log, int level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	size_t n;
	int r;

	if (!log || log->fd < 0 || level > log->level)
		return;
	n = stamp(log, line, sizeof(line));
	va_start(ap, fmt);
	r = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	if (r < 0)
		return;
	n = n + r < sizeof(line) - 1 ? n + r : sizeof(line) - 1;
	if (line[n - 1] != '\n') {
		n -= n == sizeof(line) - 1;
		line[n++] = '\n';
	}
	if (write(log->fd, line, n) < 0)
		return;
}
