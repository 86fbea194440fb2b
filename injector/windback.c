/* SPDX-License-Identifier: Apache-2.0 */
/* With which registers a stopped thread goes on. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/fd-of.h"
#include "engine/base/text.h"
#include "injector/ptrace.h"
#include "injector/remote.h"
#include "injector/scratch.h"
#include "injector/windback.h"

#define CODE 64 /* bytes in front of a `syscall` that are searched for its number */
#define STATUS 8192
#define SA_RESTARTS 0x10000000ull /* SA_RESTART */
#define TRIES 3

/* <linux/rseq.h> has them with C11 alignment rules that change with its version. */
struct section {
	uint32_t version, flags;
	uint64_t start, len, abort;
};
#define SECTION_AT 8 /* of the address in struct rseq */

/* The program's call depends on it: whatever else than its death is in the way is tried again. */
static int set_regs(const struct ckpt_tracee *t, const struct user_regs_struct *regs)
{
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r < 0 && r != -ESRCH; i++)
		r = ckpt_pt_set_regs(t->tid, regs);
	return r;
}

/* What the kernel does when a thread goes on that was preempted, as a stop does: inside a
 * restartable sequence it is sent to the abort handler. A remote call would make it forget the
 * sequence instead. */
static int leave_sequence(struct ckpt_tracee *t, struct ckpt_err *err)
{
	uint64_t at, none = 0;
	struct section s;
	int r = ckpt_pt_rseq(t->tid, &t->rseq);

	if (r < 0 || !t->rseq.addr ||
	    ckpt_vm_get(t->tid, t->rseq.addr + SECTION_AT, &at, sizeof(at)) < 0 || !at ||
	    ckpt_vm_get(t->tid, at, &s, sizeof(s)) < 0 || t->found.rip - s.start >= s.len)
		return 0;
	t->found.rip = s.abort;
	r = set_regs(t, &t->found);
	if (r < 0)
		return ckpt_fail(err, r, "thread %d: cannot set its registers", t->tid);
	ckpt_vm_put(t->tid, t->rseq.addr + SECTION_AT, &none, sizeof(none));
	return 0;
}

const struct ckpt_asleep *ckpt_tree_asleep(const struct ckpt_tree *tree, pid_t tid)
{
	const struct ckpt_asleep *a = tree->asleep[tid % CKPT_TREE_BUCKETS];

	while (a && a->tid != tid)
		a = a->next;
	return a;
}

static long called(const struct ckpt_tracee *t, const struct ckpt_asleep *a)
{
	uint8_t code[CODE];

	if (t->found.orig_rax != SYS_restart_syscall)
		return t->found.orig_rax;
	if (ckpt_vm_get(t->tid, t->found.rip - 2 - CODE, code, CODE) < 0)
		return ckpt_interrupted_behind_restart(&t->found, NULL, 0, a ? a->wchan : "");
	return ckpt_interrupted_behind_restart(&t->found, code, CODE, a ? a->wchan : "");
}

/* The call is made again for as long as it would have gone on. A time that the program keeps in its
 * memory is not changed there: the call gets the address of another one. Where there is no place
 * for that it has all of its time. */
static void shorten(struct ckpt_tracee *t, long nr, const struct ckpt_asleep *a)
{
	uint64_t arg[6], elapsed;
	struct ckpt_time_arg time;
	struct timespec spec;
	unsigned long long *where;

	ckpt_interrupted_args(&t->back, arg);
	time = ckpt_interrupted_time(nr, arg);
	if (time.form == CKPT_TIME_NONE)
		return;
	where = ckpt_interrupted_arg(&t->back, time.arg);
	if (time.rest >= 0 && t->by == CKPT_INTERRUPTED_BLOCK) {
		*where = arg[time.rest]; /* the kernel has written there what is left */
		return;
	}
	t->waits_longer = t->found.orig_rax == SYS_restart_syscall;
	elapsed = ckpt_asleep_for(a, &t->found, t->stopped_at);
	if (!elapsed)
		return;
	if (time.form == CKPT_TIME_MS) {
		int32_t left = ckpt_ms_left(arg[time.arg], elapsed);

		if (left)
			*where = (uint32_t)left;
		return;
	}
	if (ckpt_vm_get(t->tid, arg[time.arg], &spec, sizeof(spec)) < 0)
		return;
	/* Had its time run out it would have returned: it did, and this is the next one, which had
	 * not begun to wait. */
	spec = ckpt_timespec_left(spec, elapsed);
	if (!spec.tv_sec && !spec.tv_nsec)
		return;
	t->rest_at = ckpt_scratch_keep(t, &spec, sizeof(spec));
	if (t->rest_at)
		*where = t->rest_at;
}

static void wind_back(const struct ckpt_tree *tree, struct ckpt_tracee *t)
{
	const struct ckpt_asleep *a = ckpt_tree_asleep(tree, t->tid);
	long nr = called(t, a);

	ckpt_interrupted_wind_back(&t->back, nr);
	if (t->by == CKPT_INTERRUPTED_BLOCK || t->by == CKPT_INTERRUPTED_EINTR)
		shorten(t, nr, a);
}

static uint64_t status_mask(const struct ckpt_tracee *t)
{
	char status[STATUS];

	return ckpt_proc_read(t->tid, "status", status, sizeof(status)) > 0 ?
		       ckpt_status_number(status, "SigBlk", 16) :
		       t->mask;
}

static void know_mask(struct ckpt_tracee *t, uint64_t mask)
{
	t->mask = t->waits_with = mask;
	if (ckpt_interrupted_swaps_mask(t->found.orig_rax))
		t->waits_with = status_mask(t);
}

/* A call that the stop has ended with EINTR goes on here as well, if there is nothing else that
 * ended it. */
static int set_eintr(struct ckpt_tracee *t, bool again, struct ckpt_err *err)
{
	int r;

	t->now = again ? &t->back : &t->found;
	if (!again && !t->hidden)
		return 0;
	r = set_regs(t, t->now);
	return r < 0 ? ckpt_fail(err, r, "thread %d: cannot set its registers", t->tid) : 0;
}

/* The kernel was about to go on with a wait that something else had interrupted before: the stop
 * interrupts it once more, as if it had gone on already. */
static void take_restart_back(struct ckpt_tracee *t)
{
	uint8_t code[2];

	if (t->found.rax == SYS_restart_syscall &&
	    ckpt_vm_get(t->tid, t->found.rip, code, sizeof(code)) >= 0 && code[0] == 0x0f &&
	    code[1] == 0x05)
		ckpt_interrupted_once_more(&t->found);
}

/* A signal sent to the process goes to the first of its threads that lets it in. */
static uint64_t left_over(const struct ckpt_tracee *t, uint64_t shared)
{
	for (size_t i = 0; i < t->proc->n && t->proc->threads[i] != t; i++) {
		const struct ckpt_tracee *other = t->proc->threads[i];

		if (other->state == CKPT_TRACEE_STOPPED)
			shared &= other->mask | other->waits_with;
	}
	return shared;
}

/* Nearly always there is none at all, which shows quickly. */
static bool any_signal(const struct ckpt_tracee *t)
{
	siginfo_t info;

	return ckpt_pt_peek_signal(t->tid, false, 0, &info) > 0 ||
	       ckpt_pt_peek_signal(t->tid, true, 0, &info) > 0;
}

/* The queue of the process is looked at once: it stands still, what comes now interrupts nobody. */
static bool nothing_came(const struct ckpt_tracee *t)
{
	struct ckpt_proc *proc = t->proc;
	siginfo_t info;

	if (!proc->knows_queue)
		proc->queue_empty = ckpt_pt_peek_signal(t->tid, true, 0, &info) <= 0;
	proc->knows_queue = true;
	return proc->queue_empty && ckpt_pt_peek_signal(t->tid, false, 0, &info) <= 0;
}

/* The signals that a handler of this thread will take as soon as it runs: if there is one, its call
 * was interrupted after all. */
static uint64_t caught(struct ckpt_tracee *t)
{
	char status[STATUS];
	uint64_t taken, own, shared;

	if (!any_signal(t))
		return 0;
	if (ckpt_proc_read(t->tid, "status", status, sizeof(status)) <= 0)
		return 0;
	taken = ckpt_status_number(status, "SigCgt", 16) & ~(t->mask | t->waits_with);
	own = ckpt_status_number(status, "SigPnd", 16) & taken;
	shared = left_over(t, ckpt_status_number(status, "ShdPnd", 16) & taken);
	return own | shared;
}

int ckpt_tracee_settle(const struct ckpt_tree *tree, struct ckpt_tracee *t, uint64_t mask,
		       struct ckpt_err *err)
{
	int r = (long)t->found.orig_rax < 0 ? leave_sequence(t, err) : 0;

	if (r < 0)
		return r;
	take_restart_back(t);
	know_mask(t, mask);
	t->now = &t->found;
	t->back = t->found;
	t->by = ckpt_interrupted_by(&t->found);
	if (t->by == CKPT_INTERRUPTED_EINTR && t->proc->stopped) {
		t->by = CKPT_NOT_INTERRUPTED; /* the stop signal did that, and the program sees it
					       */
		return set_eintr(t, false, err);
	}
	if (t->by == CKPT_NOT_INTERRUPTED)
		return 0;
	wind_back(tree, t);
	return t->by == CKPT_INTERRUPTED_EINTR ? set_eintr(t, !caught(t), err) : 0;
}

/* The same, of one that is not settled. */
static bool was_interrupted(struct ckpt_tracee *t)
{
	uint64_t mask;

	if (!any_signal(t) || ckpt_pt_get_mask(t->tid, &mask) < 0)
		return false;
	know_mask(t, mask);
	return caught(t);
}

/* A thread may have files of its own; only newer kernels tell. */
static void take_error_out(const struct ckpt_tracee *t)
{
	CKPT_FD own = ckpt_fd_of(t->tid, (int)t->found.rdi);
	CKPT_FD all = own < 0 ? ckpt_fd_of(t->proc->pid, (int)t->found.rdi) : -1;
	int error;
	socklen_t len = sizeof(error);

	getsockopt(own < 0 ? all : own, SOL_SOCKET, SO_ERROR, &error, &len);
}

void ckpt_tracee_hide_eintr(struct ckpt_tracee *t)
{
	uint64_t arg[6];

	ckpt_interrupted_args(&t->found, arg);
	if (ckpt_interrupted_leaves_error(t->found.orig_rax, arg, t->found.rax))
		take_error_out(t);
	t->hidden = false;
	if (ckpt_interrupted_by(&t->found) != CKPT_INTERRUPTED_EINTR || was_interrupted(t))
		return;
	t->back = t->found;
	ckpt_interrupted_wind_back(&t->back, t->found.orig_rax);
	t->hidden = !set_regs(t, &t->back);
}

void ckpt_tracee_show_eintr(struct ckpt_tracee *t)
{
	if (t->hidden && was_interrupted(t))
		set_regs(t, &t->found);
}

const struct user_regs_struct *ckpt_tracee_goes_on(struct ckpt_tracee *t)
{
	bool ours = t->by == CKPT_INTERRUPTED_EINTR;

	/* Without the mask that a call waits with the kernel would take a signal that this mask
	 * keeps out. */
	if (t->by == CKPT_INTERRUPTED_NOHAND && t->mask_lost && t->waits_with != t->mask)
		ours = true;
	return ours && !caught(t) ? &t->back : &t->found;
}

/* Will the handler that takes one of SIGNALS let an interrupted call go on? */
static int restarts(struct ckpt_tree *tree, struct ckpt_tracee *t, uint64_t signals, bool *yesp,
		    struct ckpt_err *err)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} action = { 0 };
	struct ckpt_call call = {
		.nr = SYS_rt_sigaction,
		.arg = { __builtin_ctzll(signals) + 1, 0, 0, 8 },
		.buf_arg = 2,
		.buf = &action,
		.buf_len = sizeof(action),
	};
	int r = ckpt_remote_call(tree, t, &call, err);

	*yesp = action.flags & SA_RESTARTS;
	return r;
}

int ckpt_tracee_regs(struct ckpt_tree *tree, struct ckpt_tracee *t, struct user_regs_struct *gp,
		     struct ckpt_err *err)
{
	uint64_t signals;
	bool again = false;
	int r;

	*gp = t->back;
	if (t->by == CKPT_NOT_INTERRUPTED || t->by == CKPT_INTERRUPTED_ALWAYS || nothing_came(t) ||
	    !(signals = caught(t)))
		return 0;
	if (t->by == CKPT_INTERRUPTED_SYS) {
		r = restarts(tree, t, signals, &again, err);
		if (r < 0)
			return r;
	}
	if (!again) {
		*gp = t->found;
		ckpt_interrupted_give_up(gp);
	}
	return 0;
}
