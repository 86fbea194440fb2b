/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with seccomp filters. */
#include <errno.h>
#include <linux/audit.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include "injector/filters.h"
#include "injector/ptrace.h"

#define FILTERS_MAX 4096 /* the kernel allows 32768 instructions of all of them */
#define STATUS 8192
#define SYSCALL_LEN 2
#define RESTORER_LEN 9 /* with the `syscall` at its end */

static int cannot_read(const struct ckpt_tracee *t, int code, struct ckpt_err *err)
{
	if (code == -EACCES)
		return ckpt_refuse(
			err, CKPT_E_NOT_PERMITTED, code,
			"thread %d: it has a seccomp filter, which cannot be read by who "
			"is under one itself",
			t->tid);
	return ckpt_fail(err, code, "thread %d: cannot read its seccomp filters", t->tid);
}

static int read_filter(struct ckpt_tree *tree, struct ckpt_tracee *t, size_t i, int n,
		       struct ckpt_err *err)
{
	struct sock_filter *prog = ckpt_alloc(tree->arena, n * sizeof(*prog));
	uint64_t flags = 0;
	int r = ckpt_pt_filter(t->tid, i, prog);

	if (r != n)
		return cannot_read(t, r < 0 ? r : -EPROTO, err);
	r = ckpt_pt_filter_flags(t->tid, i, &flags);
	if (r < 0)
		return cannot_read(t, r, err);
	t->filters = ckpt_grow(tree->arena, t->filters, t->n_filters, &t->filters_room, 4,
			       sizeof(*t->filters));
	t->filters[t->n_filters++] =
		(struct ckpt_filter){ prog, n, flags & SECCOMP_FILTER_FLAG_LOG };
	return 0;
}

/* The oldest has number 0. */
static int read_all(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	t->n_filters = 0;
	for (size_t i = 0; i < FILTERS_MAX; i++) {
		int n = ckpt_pt_filter(t->tid, i, NULL);
		int r;

		if (n == -ENOENT || (n == -EINVAL && i == 0)) /* no more; none at all */
			return 0;
		if (n < 0)
			return cannot_read(t, n, err);
		r = read_filter(tree, t, i, n, err);
		if (r < 0)
			return r;
	}
	return ckpt_fail(err, -E2BIG, "thread %d: too many seccomp filters", t->tid);
}

int ckpt_filters_lift(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	char status[STATUS];

	if (t->lifted)
		return 0;
	if (!tree->may_not_suspend) {
		if (!ckpt_pt_options(t->tid,
				     PTRACE_O_TRACESYSGOOD | CKPT_PTRACE_O_SUSPEND_SECCOMP)) {
			int r = read_all(tree, t, err);

			t->lifted = r >= 0;
			return r;
		}
		tree->may_not_suspend = true;
	}
	if (ckpt_proc_read(t->tid, "status", status, sizeof(status)) > 0 &&
	    !ckpt_status_number(status, "Seccomp", 10))
		return 0;
	return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM,
			   "thread %d: it runs under a seccomp filter, which only root may suspend",
			   t->tid);
}

/* Without a tracer SECCOMP_RET_TRACE is an error like others. */
static bool is_harmless(uint32_t answer)
{
	switch (answer & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE:
		return true;
	default:
		return false;
	}
}

static bool allows(uint32_t answer)
{
	answer &= SECCOMP_RET_ACTION_FULL;
	return answer == SECCOMP_RET_ALLOW || answer == SECCOMP_RET_LOG;
}

/* The address is that behind the `syscall`, as filters see it. */
static uint32_t answer(const struct ckpt_filter *f, long nr, const uint64_t arg[6], uint64_t ip)
{
	struct seccomp_data data = { nr, AUDIT_ARCH_X86_64, ip, { 0 } };

	memcpy(data.args, arg, sizeof(data.args));
	return ckpt_filter_answer(f, &data);
}

bool ckpt_filters_bear(const struct ckpt_tracee *t, long nr, const uint64_t arg[6])
{
	static const uint64_t none[6];
	const struct ckpt_gadgets *g = &t->proc->gadgets;
	uint64_t ip = g->call + SYSCALL_LEN;
	uint64_t back = g->restorer ? g->restorer + RESTORER_LEN : ip;

	for (size_t i = 0; i < t->n_filters; i++)
		if (!is_harmless(answer(&t->filters[i], nr, arg, ip)) ||
		    !allows(answer(&t->filters[i], SYS_rt_sigreturn, none, back)))
			return false;
	return true;
}
