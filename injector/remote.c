/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls made by a stopped thread. The order of the steps is what makes our death harmless:
 * the frame is complete before the registers point to it; signals are blocked after that and let in
 * again before the registers go back; memory is put back last. (Between unblocking and putting back
 * a handler runs on the frame's stack, which has room for that.)
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "engine/base/text.h"
#include "injector/batch.h"
#include "injector/filters.h"
#include "injector/frame.h"
#include "injector/ptrace.h"
#include "injector/remote.h"
#include "injector/scratch.h"

#define ODD_STOPS_MAX 1000
#define AGAIN_MAX 10
#define SPIN_NS 30000
#define SPIN_PAUSES 20
#define XSTATE_MAX (64u << 10)
#define ALL_SIGNALS (~0ull)
#define BUF_LEAST 512 /* mostly enough */

struct ckpt_remote {
	pthread_mutex_t lock;       /* for readers of memory in other threads */
	struct ckpt_tracee *active; /* has a frame, NULL: none */
	const struct user_regs_struct *resting;
	uint64_t at;
	size_t buf_len; /* room for a buffer, at its start */
	struct ckpt_frame_layout layout;
	size_t data_len;     /* of what is asked at once, 0: nothing is */
	bool chain_is_there; /* the frame has been put there with the first chain in it */
	uint64_t fourth;     /* argument of all of that chain */
	size_t chain_used;
	int signal; /* which ends it */
	struct ckpt_batch *batch;
	struct ckpt_xstate_size xstate_size;
	uint8_t frame[CKPT_FRAME_MAX], saved[CKPT_FRAME_MAX], xstate[XSTATE_MAX];
};

struct ckpt_remote *ckpt_remote_open(struct ckpt_arena *arena)
{
	struct ckpt_remote *remote = ckpt_new(arena, struct ckpt_remote);

	pthread_mutex_init(&remote->lock, NULL);
	remote->batch = ckpt_batch_open(arena);
	return remote;
}

static int lost(const struct ckpt_tracee *t, int r, const char *verb, struct ckpt_err *err)
{
	if (r == -ESRCH || r == -ECHILD)
		return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH,
				   "thread %d: cannot %s: it was killed meanwhile", t->tid, verb);
	return ckpt_fail(err, r, "thread %d: cannot %s", t->tid, verb);
}

/* ---- can it make calls? ---- */

static int find_gadgets(struct ckpt_tree *tree, const struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_proc *proc = t->proc;
	uint64_t mask;
	int r;

	if (proc->has_gadgets)
		return 0;
	r = ckpt_gadgets_find(tree->cache, t->tid, &proc->areas, &proc->gadgets, err);
	if (r >= 0 && ckpt_gadgets_hold(t->tid, &proc->gadgets)) {
		proc->has_gadgets = true;
		return 0;
	}
	if (ckpt_pt_get_mask(t->tid, &mask) < 0)
		return lost(t, -ESRCH, "run a system call in it", err);
	if (r >= 0)
		return ckpt_refuse(
			err, CKPT_E_NO_GADGET, -ENOEXEC,
			"process %d: cannot run a system call in it: its code was changed",
			proc->pid);
	return r;
}

static int prepare(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	int r;

	if (t->prepared)
		return 0;
	if (ckpt_pt_dispatch_is_on(t->tid))
		return ckpt_refuse(
			err, CKPT_E_TASK_STATE, -EBUSY,
			"thread %d: cannot run system calls in it: it has syscall user dispatch",
			t->tid);
	if (ckpt_pt_shadow_stack_is_on(t->tid))
		return ckpt_refuse(
			err, CKPT_E_TASK_STATE, -EBUSY,
			"thread %d: cannot run system calls in it: it has a shadow stack", t->tid);
	r = ckpt_filters_lift(tree, t, err);
	if (r < 0)
		return r;
	r = find_gadgets(tree, t, err);
	if (r < 0)
		return r;
	t->prepared = true;
	return 0;
}

/* ---- the frame ---- */

static int read_xstate(struct ckpt_remote *remote, const struct ckpt_tracee *t, size_t *lenp,
		       struct ckpt_err *err)
{
	int r;

	*lenp = XSTATE_MAX;
	r = ckpt_pt_get_set(t->tid, NT_X86_XSTATE, remote->xstate, lenp);
	return r < 0 ? lost(t, r, "read its vector registers", err) : 0;
}

/* Fills in what is asked at once. False: nothing is left to ask. */
static bool make_chain(struct ckpt_remote *remote, struct ckpt_tracee *t, uint64_t at)
{
	const struct ckpt_frame_layout *l = &remote->layout;

	remote->fourth = 0;
	remote->chain_used = ckpt_batch_make(remote->batch, t, remote->frame, l->front,
					     remote->frame + l->data, at + l->data, &remote->fourth,
					     &remote->signal);
	return remote->chain_used != 0;
}

/* Puts the frame to the best place that takes it. */
static int place_frame(struct ckpt_remote *remote, struct ckpt_tracee *t, struct ckpt_err *err)
{
	const struct ckpt_frame_layout *l = &remote->layout;
	struct ckpt_scratch s;
	int r;

	for (unsigned int n = 0; (r = ckpt_scratch_choice(t, l->len, n, &s)) >= 0; n++) {
		if (!r)
			continue;
		memset(remote->saved, 0, l->len);
		if (s.touched && ckpt_vm_get(t->tid, s.addr, remote->saved, l->len) < 0)
			continue;
		memset(remote->frame, 0, l->len);
		ckpt_frame_make(remote->frame, s.addr, l, &t->proc->gadgets, &t->back, t->mask,
				remote->xstate);
		remote->chain_is_there = remote->data_len && make_chain(remote, t, s.addr);
		if (ckpt_vm_put(t->tid, s.addr, remote->frame, l->len) < 0) {
			if (s.touched)
				ckpt_vm_put(t->tid, s.addr, remote->saved, l->len);
			continue;
		}
		remote->at = s.addr;
		return 0;
	}
	return ckpt_refuse(err, CKPT_E_NO_GADGET, -ENOMEM,
			   "thread %d: cannot run system calls in it: no memory that it can spare",
			   t->tid);
}

/* BUF_LEN: of the largest buffer of a single call. */
static int begin(struct ckpt_tree *tree, struct ckpt_tracee *t, size_t buf_len,
		 struct ckpt_err *err)
{
	struct ckpt_remote *remote = tree->remote;
	size_t len, front;
	int r = prepare(tree, t, err);

	if (r < 0)
		return r;
	r = read_xstate(remote, t, &len, err);
	if (r < 0)
		return r;
	front = ckpt_batch_chain_len(remote->batch, t);
	remote->data_len = front ? ckpt_batch_data_len(remote->batch) : 0;
	remote->buf_len = buf_len > BUF_LEAST ? buf_len : BUF_LEAST;
	ckpt_frame_lay_out(&remote->layout, &remote->xstate_size, &t->proc->gadgets, remote->xstate,
			   len, front > remote->buf_len ? front : remote->buf_len,
			   remote->data_len);
	if (remote->layout.len > CKPT_FRAME_MAX)
		return ckpt_fail(err, -E2BIG, "thread %d: cannot make a signal frame", t->tid);
	pthread_mutex_lock(&remote->lock);
	r = place_frame(remote, t, err);
	if (!r)
		remote->active = t;
	pthread_mutex_unlock(&remote->lock);
	if (r < 0)
		return r;
	remote->resting = t->now;
	return 0;
}

void ckpt_remote_finish(struct ckpt_tree *tree)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_tracee *t = remote->active;
	bool back = true;

	if (!t)
		return;
	if (!t->now) {
		ckpt_pt_set_mask(t->tid, t->mask);
		back = !ckpt_pt_set_regs(t->tid, remote->resting);
		t->now = remote->resting;
	}
	pthread_mutex_lock(&remote->lock);
	if (back) /* else it was killed: nobody has that memory any more, or others have it with the
		     frame */
		ckpt_vm_put(t->tid, remote->at, remote->saved, remote->layout.len);
	remote->active = NULL;
	pthread_mutex_unlock(&remote->lock);
}

void ckpt_remote_hide(struct ckpt_tree *tree, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct ckpt_remote *remote = tree->remote;
	uint64_t from, to;

	pthread_mutex_lock(&remote->lock);
	if (remote->active && remote->active->proc->pid == pid) {
		from = addr > remote->at ? addr : remote->at;
		to = addr + len < remote->at + remote->layout.len ? addr + len :
								    remote->at + remote->layout.len;
		if (from < to)
			memcpy((char *)buf + (from - addr), remote->saved + (from - remote->at),
			       to - from);
	}
	pthread_mutex_unlock(&remote->lock);
}

/* ---- the call ---- */

/* An idle processor takes long to wake up, for us as well: so we look for a moment before we sleep.
 * Without sched_yield(2): since Linux 6.18 who yields is put back by a whole slice each time, and
 * beside busy programs would not run again for seconds. */
static int await(pid_t tid, int *statusp)
{
	uint64_t until = ckpt_now_ns() + SPIN_NS;

	do {
		int r = ckpt_pt_wait(tid, false, statusp);

		if (r)
			return r;
		for (int i = 0; i < SPIN_PAUSES; i++)
			__builtin_ia32_pause();
	} while (ckpt_now_ns() < until);
	return ckpt_pt_wait(tid, true, statusp);
}

static bool stops(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Lets the thread go by REQUEST until it stops with SIG. Nothing can come between but SIGSTOP,
 * which cannot be blocked, SIGCONT after it, and the end. A stop is let happen: it holds the thread
 * as soon as we are gone. */
static int run(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err)
{
	int sig = 0;

	for (int i = 0; i < ODD_STOPS_MAX; i++) {
		int status, r = ckpt_pt_resume(request, t->tid, sig);

		if (r < 0)
			return lost(t, r, "run a system call in it", err);
		r = await(t->tid, &status);
		if (r < 0 || !WIFSTOPPED(status)) {
			t->state = CKPT_TRACEE_GONE;
			return lost(t, -ESRCH, "run a system call in it", err);
		}
		sig = status >> 16 == CKPT_EVENT_STOP ? 0 : WSTOPSIG(status);
		if (sig == want)
			return 0;
		if (sig && !stops(sig))
			return ckpt_fail(err, -EIO,
					 "thread %d: cannot run a system call in it: signal %d",
					 t->tid, sig);
	}
	return ckpt_fail(err, -EBUSY, "thread %d: cannot run a system call in it", t->tid);
}

/* From now on the frame is what the thread comes back to. */
static int enter(struct ckpt_tracee *t, const struct user_regs_struct *regs, uint64_t mask,
		 struct ckpt_err *err)
{
	int r = ckpt_pt_set_regs(t->tid, regs);

	if (r < 0)
		return lost(t, r, "set its registers", err);
	if (!t->now && mask == ALL_SIGNALS)
		return 0;
	t->now = NULL;
	t->mask_lost = true;
	r = ckpt_pt_set_mask(t->tid, mask);
	return r < 0 ? lost(t, r, "block its signals", err) : 0;
}

/* ---- many calls at once ---- */

static struct user_regs_struct regs_for_chain(const struct ckpt_remote *remote,
					      const struct ckpt_tracee *t)
{
	struct user_regs_struct regs = t->found;

	regs.rax = regs.r8 = regs.r9 = 0;
	regs.orig_rax = -1;
	regs.r10 = remote->fourth;
	regs.rip = t->proc->gadgets.pop_rdi + 1; /* its `ret` */
	regs.rsp = remote->at + remote->layout.front - remote->chain_used;
	return regs;
}

static int put_chain(const struct ckpt_remote *remote, const struct ckpt_tracee *t)
{
	const struct ckpt_frame_layout *l = &remote->layout;
	int r = ckpt_vm_put(t->tid, remote->at, remote->frame, l->front);

	return r < 0 ? r :
		       ckpt_vm_put(t->tid, remote->at + l->data, remote->frame + l->data,
				   remote->data_len);
}

/* 1: asked, 0: nothing is left to ask. */
static int ask_chain(struct ckpt_remote *remote, struct ckpt_tracee *t, struct ckpt_err *err)
{
	uint8_t *data = remote->frame + remote->layout.data;
	struct user_regs_struct regs;
	int r = 0;

	if (!remote->chain_is_there) {
		if (!make_chain(remote, t, remote->at))
			return 0;
		r = put_chain(remote, t);
		if (r < 0)
			return lost(t, r, "write to its memory", err);
	}
	remote->chain_is_there = false;
	regs = regs_for_chain(remote, t);
	r = enter(t, &regs, ALL_SIGNALS & ~(1ull << (remote->signal - 1)), err);
	for (int i = 0; r >= 0 && i < AGAIN_MAX; i++) {
		r = run(t, PTRACE_CONT, remote->signal, err);
		if (r < 0)
			return r;
		r = ckpt_vm_get(t->tid, remote->at + remote->layout.data, data, remote->data_len);
		if (r < 0)
			return lost(t, r, "read its memory", err);
		if (ckpt_batch_take(remote->batch, t, data))
			return 1; /* else somebody else has sent that signal */
	}
	return r < 0 ? r :
		       ckpt_fail(err, -EBUSY, "thread %d: cannot run system calls in it", t->tid);
}

static int ask_all(struct ckpt_remote *remote, struct ckpt_tracee *t, struct ckpt_err *err)
{
	int r = remote->data_len ? 1 : 0;

	while (r > 0)
		r = ask_chain(remote, t, err);
	if (!r && !t->now) {
		r = ckpt_pt_set_mask(t->tid, ALL_SIGNALS);
		if (r < 0)
			return lost(t, r, "block its signals", err);
	}
	return r;
}

/* ---- one call ---- */

static struct user_regs_struct regs_for(const struct ckpt_remote *remote,
					const struct ckpt_tracee *t, const struct ckpt_call *call)
{
	struct user_regs_struct regs = t->found;

	for (int i = 0; i < 6; i++)
		*ckpt_interrupted_arg(&regs, i) = i == call->buf_arg ? remote->at : call->arg[i];
	regs.rax = call->nr;
	regs.orig_rax = -1; /* it is in no call: nothing is to be restarted */
	regs.rip = t->proc->gadgets.call;
	regs.rsp = remote->at + remote->layout.sp;
	return regs;
}

static int once(struct ckpt_remote *remote, struct ckpt_tracee *t, struct ckpt_call *call,
		struct ckpt_err *err)
{
	struct user_regs_struct regs = regs_for(remote, t, call);
	int r = enter(t, &regs, ALL_SIGNALS, err);

	for (int i = 0; r >= 0 && i < 2; i++)
		r = run(t, PTRACE_SYSCALL, CKPT_SYSCALL_STOP, err); /* its entry and its exit */
	if (r < 0)
		return r;
	r = ckpt_pt_result(t->tid, &call->ret);
	return r < 0 ? lost(t, r, "read the result of its system call", err) : 0;
}

static bool never_seen_by_programs(int64_t ret)
{
	return ret <= -512 && ret >= -516;
}

/* Whether T survives it should we die meanwhile. */
static int check_filters(const struct ckpt_remote *remote, const struct ckpt_tracee *t,
			 const struct ckpt_call *call, struct ckpt_err *err)
{
	uint64_t arg[6];

	memcpy(arg, call->arg, sizeof(arg));
	if (call->buf_arg >= 0)
		arg[call->buf_arg] = remote->at;
	if (ckpt_filters_bear(t, call->nr, arg))
		return 0;
	return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM,
			   "thread %d: its seccomp filter does not let it make system call %ld, "
			   "which ckpt has to ask",
			   t->tid, call->nr);
}

static int make(struct ckpt_remote *remote, struct ckpt_tracee *t, struct ckpt_call *call,
		struct ckpt_err *err)
{
	bool has_buf = call->buf_arg >= 0 && call->buf_len;
	int r = check_filters(remote, t, call, err);

	if (r < 0)
		return r;
	r = has_buf ? ckpt_vm_put(t->tid, remote->at, call->buf, call->buf_len) : 0;
	if (r < 0)
		return lost(t, r, "write to its memory", err);
	for (int i = 0; i < AGAIN_MAX; i++) {
		r = once(remote, t, call, err);
		if (r < 0)
			return r;
		if (!never_seen_by_programs(call->ret))
			break;
	}
	r = has_buf ? ckpt_vm_get(t->tid, remote->at, call->buf, call->buf_len) : 0;
	return r < 0 ? lost(t, r, "read its memory", err) : 0;
}

int ckpt_remote_call(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_call *call,
		     struct ckpt_err *err)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_call asked = *call;
	size_t len = call->buf_arg >= 0 ? call->buf_len : 0;
	uint8_t in[CKPT_CALL_BUF];
	bool answered;
	int r = 0;

	if (len > CKPT_CALL_BUF)
		return ckpt_fail(err, -E2BIG, "thread %d: cannot pass %zu bytes to a system call",
				 t->tid, len);
	if (len)
		asked.buf = memcpy(in, call->buf, len);
	answered = ckpt_batch_answer(remote->batch, t, call); /* which fills its buffer */
	if (!answered && (remote->active != t || len > remote->buf_len)) {
		ckpt_remote_finish(tree);
		r = begin(tree, t, len, err);
		if (r >= 0)
			r = ask_all(remote, t, err);
		answered = r >= 0 && ckpt_batch_answer(remote->batch, t, call);
	}
	if (r >= 0 && !answered)
		r = make(remote, t, call, err);
	if (r >= 0)
		ckpt_batch_learn(remote->batch, t, &asked);
	else
		ckpt_remote_finish(tree);
	return r;
}

void ckpt_remote_reset(struct ckpt_tree *tree)
{
	ckpt_batch_reset(tree->remote->batch);
}
