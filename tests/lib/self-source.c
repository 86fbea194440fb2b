/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/self-source.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int self_open_proc(struct ckpt_source *src, pid_t tid, const char *name, struct ckpt_err *err)
{
	char path[64];
	int fd;

	(void)src;
	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? ckpt_fail(err, -errno, "%s: cannot open", path) : fd;
}

int self_read_link(struct ckpt_source *src, pid_t tid, const char *name, char *buf, size_t size,
		   struct ckpt_err *err)
{
	char path[64];
	ssize_t n;

	(void)src;
	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	n = readlink(path, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	return n < 0 ? ckpt_fail(err, -errno, "%s: cannot read", path) : n;
}

int self_call(struct ckpt_source *src, pid_t tid, struct ckpt_call *c, struct ckpt_err *err)
{
	long r;

	(void)src, (void)tid, (void)err;
	if (c->buf_arg >= 0)
		c->arg[c->buf_arg] = (uintptr_t)c->buf;
	r = syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4], c->arg[5]);
	c->ret = r < 0 ? -errno : r;
	return 0;
}
