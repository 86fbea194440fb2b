/* SPDX-License-Identifier: Apache-2.0 */
/* ptrace(2) and the small files of /proc. Raw system calls: the C library's ptrace() returns data
 * in odd ways. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "injector/ptrace.h"

#define CALL_EXIT 2       /* PTRACE_SYSCALL_INFO_EXIT */
#define DISPATCH_INSIDE 2 /* PR_SYS_DISPATCH_INCLUSIVE_ON */

/* struct ptrace_syscall_info, Linux 5.3, as far as the exit of a call fills it. */
struct call_info {
	uint8_t op, pad[3];
	uint32_t arch;
	uint64_t ip, sp;
	int64_t rval;
	uint8_t is_error, pad2[7];
	uint64_t room[6];
};

static long raw(long request, pid_t tid, const void *addr, const void *data)
{
	long r = syscall(SYS_ptrace, request, tid, addr, data);

	return r < 0 ? -errno : r;
}

int ckpt_pt_seize(pid_t tid)
{
	return raw(PTRACE_SEIZE, tid, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD);
}

int ckpt_pt_interrupt(pid_t tid)
{
	return raw(PTRACE_INTERRUPT, tid, NULL, NULL);
}

int ckpt_pt_options(pid_t tid, long options)
{
	return raw(PTRACE_SETOPTIONS, tid, NULL, (void *)options);
}

int ckpt_pt_resume(int request, pid_t tid, int sig)
{
	return raw(request, tid, NULL, (void *)(uintptr_t)sig);
}

int ckpt_pt_get_regs(pid_t tid, struct user_regs_struct *regs)
{
	return raw(PTRACE_GETREGS, tid, NULL, regs);
}

int ckpt_pt_set_regs(pid_t tid, const struct user_regs_struct *regs)
{
	return raw(PTRACE_SETREGS, tid, NULL, regs);
}

int ckpt_pt_get_mask(pid_t tid, uint64_t *mask)
{
	return raw(PTRACE_GETSIGMASK, tid, (void *)sizeof(*mask), mask);
}

int ckpt_pt_set_mask(pid_t tid, uint64_t mask)
{
	return raw(PTRACE_SETSIGMASK, tid, (void *)sizeof(mask), &mask);
}

int ckpt_pt_get_set(pid_t tid, int set, void *buf, size_t *lenp)
{
	struct iovec iov = { buf, *lenp };
	int r = raw(PTRACE_GETREGSET, tid, (void *)(uintptr_t)set, &iov);

	*lenp = iov.iov_len;
	return r;
}

int ckpt_pt_peek_signal(pid_t tid, bool of_process, unsigned int n, siginfo_t *info)
{
	struct __ptrace_peeksiginfo_args args = {
		.off = n,
		.flags = of_process ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = 1,
	};

	return raw(PTRACE_PEEKSIGINFO, tid, &args, info);
}

int ckpt_pt_rseq(pid_t tid, struct ckpt_rseq_conf *conf)
{
	int r;

	memset(conf, 0, sizeof(*conf));
	r = raw(CKPT_PTRACE_GET_RSEQ, tid, (void *)sizeof(*conf), conf);
	return r < 0 ? r : 0;
}

int ckpt_pt_event(pid_t tid, pid_t *pidp)
{
	unsigned long n = 0;
	int r = raw(PTRACE_GETEVENTMSG, tid, NULL, &n);

	*pidp = n;
	return r;
}

int ckpt_pt_result(pid_t tid, int64_t *retp)
{
	struct call_info info = { 0 };
	long r = raw(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info);

	if (r < 0)
		return r;
	if (info.op != CALL_EXIT)
		return -EPROTO;
	*retp = info.rval;
	return 0;
}

void ckpt_pt_dispatch(pid_t tid, struct ckpt_dispatch *conf)
{
	if (raw(CKPT_PTRACE_GET_DISPATCH, tid, (void *)sizeof(*conf), conf) < 0 || !conf->mode)
		memset(conf, 0, sizeof(*conf));
}

/* A range that wraps around is shown where all that is outside of it was chosen (Linux 6.16), and
 * is not taken in that form. */
int ckpt_pt_set_dispatch(pid_t tid, const struct ckpt_dispatch *conf)
{
	struct ckpt_dispatch set = *conf;

	if (set.len && set.offset + set.len < set.offset) {
		set.mode = DISPATCH_INSIDE;
		set.offset += set.len;
		set.len = -set.len;
	}
	return raw(CKPT_PTRACE_SET_DISPATCH, tid, (void *)sizeof(set), &set);
}

int ckpt_pt_shadow_stack(pid_t tid)
{
	uint64_t ssp;
	size_t len = sizeof(ssp);

	return ckpt_pt_get_set(tid, CKPT_NT_X86_SHSTK, &ssp, &len);
}

int ckpt_pt_filter(pid_t tid, size_t n, struct sock_filter *prog)
{
	return raw(PTRACE_SECCOMP_GET_FILTER, tid, (void *)n, prog);
}

int ckpt_pt_filter_flags(pid_t tid, size_t n, uint64_t *flags)
{
	struct {
		uint64_t filter, flags;
	} data = { n, 0 };
	long r = raw(PTRACE_SECCOMP_GET_METADATA, tid, (void *)sizeof(data), &data);

	*flags = data.flags;
	return r < 0 ? r : 0;
}

int ckpt_pt_wait(pid_t tid, bool block, int *statusp)
{
	for (;;) {
		pid_t r = waitpid(tid, statusp, __WALL | (block ? 0 : WNOHANG));

		if (r >= 0)
			return r > 0;
		if (errno != EINTR)
			return -errno;
	}
}

static ssize_t total(const struct iovec *v, size_t n)
{
	ssize_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += v[i].iov_len;
	return len;
}

int ckpt_vm_read(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n)
{
	ssize_t r = process_vm_readv(pid, local, n, remote, n, 0);

	return r < 0 ? -errno : r == total(remote, n) ? 0 : -EFAULT;
}

int ckpt_vm_write(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n)
{
	ssize_t r = process_vm_writev(pid, local, n, remote, n, 0);

	return r < 0 ? -errno : r == total(remote, n) ? 0 : -EFAULT;
}

int ckpt_vm_get(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	return ckpt_vm_read(pid, &(struct iovec){ buf, len }, &(struct iovec){ (void *)addr, len },
			    1);
}

int ckpt_vm_put(pid_t pid, uint64_t addr, const void *buf, size_t len)
{
	return ckpt_vm_write(pid, &(struct iovec){ (void *)buf, len },
			     &(struct iovec){ (void *)addr, len }, 1);
}

int ckpt_proc_read(pid_t tid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

int ckpt_proc_stat(pid_t tid, struct ckpt_proc_stat *st)
{
	char text[1024];
	const char *p;
	int r = ckpt_proc_read(tid, "stat", text, sizeof(text));
	uint64_t field[40] = { 0 };

	if (r < 0)
		return r;
	p = strrchr(text, ')'); /* the name may hold anything */
	if (!p || p[1] != ' ' || !p[2])
		return -EBADMSG;
	st->state = p[2];
	p += 3;
	for (int i = 4; i < 40; i++) {
		int64_t number;

		if (ckpt_parse_i64(&p, 10, &number))
			field[i] = number;
		else if (!ckpt_parse_u64(&p, 10, &field[i]))
			return -EBADMSG;
	}
	st->ppid = field[4];
	st->flags = field[9];
	st->n_threads = field[20];
	st->cpu = field[39];
	return 0;
}

int ckpt_proc_exit_status(pid_t tid, int *statusp)
{
	char text[1024];
	int r = ckpt_proc_read(tid, "stat", text, sizeof(text));
	const char *last = r < 0 ? NULL : strrchr(text, ' ');
	int64_t number;

	if (r < 0 || !last || !ckpt_parse_i64(&last, 10, &number))
		return r < 0 ? r : -EBADMSG;
	*statusp = number;
	return 0;
}

uint64_t ckpt_status_number(const char *status, const char *key, int base)
{
	const char *p = ckpt_line_after(status, key);
	uint64_t value;

	return p && ckpt_parse_u64(&p, base, &value) ? value : 0;
}
