/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a process that stands, or of its copy: read directly where the kernel lets us, and
 * else by the process itself. */
#include <errno.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "injector/inside-tree.h"

/* What we may not read, or the program itself may not. */
static int read_asked(struct ckpt_inside *in, pid_t pid, uint64_t addr, char *buf, size_t len,
		      struct ckpt_err *err)
{
	while (len) {
		struct ckpt_wire_request req = { .verb = CKPT_WIRE_READ,
						 .arg = { addr, len },
						 .buf_arg = -1 };
		int64_t n = ckpt_inside_request(in, pid, &req, NULL, buf, len, NULL, err);

		if (n == -ECONNRESET)
			return n;
		if (n <= 0 || (uint64_t)n > len)
			return ckpt_fail(err, n < 0 ? n : -EFAULT,
					 "process %d: cannot read its memory at %#llx", pid,
					 (unsigned long long)addr);
		addr += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static int read_range(struct ckpt_inside *in, pid_t pid, struct iovec range, char *buf,
		      struct ckpt_err *err)
{
	while (range.iov_len) {
		struct iovec local = { buf, range.iov_len };
		ssize_t n = process_vm_readv(ckpt_inside_acts(in, pid), &local, 1, &range, 1, 0);

		if (n < 0 && errno == ESRCH)
			return ckpt_fail(err, -ESRCH, "process %d: cannot read its memory", pid);
		if (n <= 0) {
			uint64_t at = (uintptr_t)range.iov_base;
			size_t in_page = CKPT_PAGE - at % CKPT_PAGE;
			bool all = n < 0 && (errno == EPERM || errno == EACCES);

			n = all || range.iov_len < in_page ? range.iov_len : in_page;
			int r = read_asked(in, pid, at, buf, n, err);

			if (r < 0)
				return r;
		}
		buf += n;
		range.iov_base = (char *)range.iov_base + n;
		range.iov_len -= n;
	}
	return 0;
}

/* process_vm_readv(2) would make the copy a page of its own for each page that it shares with the
 * program. */
static int read_copy(const struct ckpt_member *m, struct iovec range, char *buf,
		     struct ckpt_err *err)
{
	while (range.iov_len) {
		ssize_t n = pread(m->copy_mem, buf, range.iov_len, (uintptr_t)range.iov_base);

		if (n <= 0)
			return ckpt_fail(err, n < 0 ? -errno : -EFAULT,
					 "process %d: cannot read the copy of its memory at %p",
					 m->pid, range.iov_base);
		buf += n;
		range.iov_base = (char *)range.iov_base + n;
		range.iov_len -= n;
	}
	return 0;
}

int ckpt_inside_read(struct ckpt_inside *in, pid_t pid, const struct iovec *range, size_t n,
		     void *buf, struct ckpt_err *err)
{
	const struct ckpt_member *m = ckpt_inside_member(in, pid);
	char *to = buf;

	for (size_t i = 0; i < n; i++) {
		int r = m && m->copy ? read_copy(m, range[i], to, err) :
				       read_range(in, pid, range[i], to, err);

		if (r < 0)
			return r;
		to += range[i].iov_len;
	}
	return 0;
}
