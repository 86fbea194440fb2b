/* SPDX-License-Identifier: Apache-2.0 */
/* System calls made by a stopped thread; the next ones are asked what the last one was asked while
 * that one's state is collected. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "engine/base/text.h"
#include "injector/caller.h"
#include "injector/filters.h"
#include "injector/ptrace.h"
#include "injector/questions.h"
#include "injector/remote.h"

#define ODD_STOPS_MAX 1000
#define AGAIN_MAX 10
#define SPIN_NS 30000
#define SPIN_PAUSES 20
#define XSTATE_MAX (64u << 10)
#define CALLERS (1 + CKPT_SOON)
#define ALL_SIGNALS (~0ull)

struct ckpt_remote {
	pthread_mutex_t lock; /* of the callers, for readers of memory in other threads */
	struct ckpt_caller caller[CALLERS];
	struct ckpt_caller *active; /* may be nobody, as the others may: those are ahead */
	struct ckpt_batch *batch;
	struct ckpt_xstate_size xstate_size;
	struct ckpt_scratch_map map;
	size_t xstate_len;
};

struct ckpt_remote *ckpt_remote_open(struct ckpt_arena *arena)
{
	struct ckpt_remote *remote = ckpt_new(arena, struct ckpt_remote);

	pthread_mutex_init(&remote->lock, NULL);
	remote->batch = ckpt_batch_open(arena);
	for (int i = 0; i < CALLERS; i++) {
		remote->caller[i].batch = remote->batch;
		remote->caller[i].xstate_size = &remote->xstate_size;
		remote->caller[i].map = &remote->map;
		remote->caller[i].next = &remote->caller[(i + 1) % CALLERS];
		remote->caller[i].round = ckpt_round_open(arena);
	}
	remote->active = &remote->caller[0];
	return remote;
}

int ckpt_remote_xstate(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_remote *remote = tree->remote;
	uint8_t first[XSTATE_MAX], *to = first;
	size_t len = sizeof(first);
	int r;

	if (t->xstate)
		return 0;
	if (remote->xstate_len) /* of all threads, as long as the machine runs */
		to = ckpt_alloc(tree->arena, len = remote->xstate_len);
	r = ckpt_pt_get_set(t->tid, NT_X86_XSTATE, to, &len);
	if (r < 0)
		return ckpt_caller_lost(t, r, "read its vector registers", err);
	t->xstate = to == first ? memcpy(ckpt_alloc(tree->arena, len), first, len) : to;
	t->xstate_len = remote->xstate_len = len;
	return 0;
}

/* ---- letting it run ---- */

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

/* Waits until the thread, which goes on by REQUEST, stops with WANT. Nothing can come between but
 * SIGSTOP, which cannot be blocked, SIGCONT after it, and the end. A stop is let happen: it holds
 * the thread as soon as we are gone. 1: it stands where it has made t->born. */
static int await_stop(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err)
{
	for (int i = 0; i < ODD_STOPS_MAX; i++) {
		int status, sig, r = await(t->tid, &status);

		if (r < 0 || !WIFSTOPPED(status)) {
			t->state = CKPT_TRACEE_GONE;
			return ckpt_caller_lost(t, -ESRCH, "run a system call in it", err);
		}
		if (status >> 16 == PTRACE_EVENT_CLONE || status >> 16 == PTRACE_EVENT_VFORK)
			return ckpt_pt_event(t->tid, &t->born) < 0 ? -ESRCH : 1;
		sig = status >> 16 == CKPT_EVENT_STOP ? 0 : WSTOPSIG(status);
		if (sig == want)
			return 0;
		if (sig && !stops(sig))
			return ckpt_fail(err, -EIO,
					 "thread %d: cannot run a system call in it: signal %d",
					 t->tid, sig);
		r = ckpt_pt_resume(request, t->tid, sig);
		if (r < 0)
			return ckpt_caller_lost(t, r, "run a system call in it", err);
	}
	return ckpt_fail(err, -EBUSY, "thread %d: cannot run a system call in it", t->tid);
}

static int resume(struct ckpt_tracee *t, int request, struct ckpt_err *err)
{
	int r = ckpt_pt_resume(request, t->tid, 0);

	return r < 0 ? ckpt_caller_lost(t, r, "run a system call in it", err) : 0;
}

static int run(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err)
{
	int r = resume(t, request, err);

	return r < 0 ? r : await_stop(t, request, want, err);
}

/* From now on the frame is what the thread comes back to. */
static int enter(struct ckpt_tracee *t, const struct user_regs_struct *regs, uint64_t mask,
		 struct ckpt_err *err)
{
	int r = ckpt_pt_set_regs(t->tid, regs);

	if (r < 0)
		return ckpt_caller_lost(t, r, "set its registers", err);
	if (!t->now && t->blocked == mask)
		return 0;
	t->now = NULL;
	t->blocked = mask;
	t->mask_lost = true;
	r = ckpt_pt_set_mask(t->tid, mask);
	return r < 0 ? ckpt_caller_lost(t, r, "block its signals", err) : 0;
}

static struct ckpt_caller *caller_of(struct ckpt_remote *remote, const struct ckpt_tracee *t)
{
	for (int i = 0; i < CALLERS; i++)
		if (remote->caller[i].t == t)
			return &remote->caller[i];
	return NULL;
}

/* ---- many calls at once ---- */

static struct user_regs_struct regs_for_chain(const struct ckpt_caller *c)
{
	struct user_regs_struct regs = c->t->found;

	regs.rax = regs.rdi = regs.rsi = regs.rdx = regs.r8 = regs.r9 = 0;
	regs.orig_rax = -1;
	regs.r10 = c->fourth;
	regs.rip = c->t->proc->gadgets.pop_rdi + 1; /* its `ret` */
	regs.rsp = c->at + c->layout.front - c->chain_used;
	return regs;
}

static int put_chain(const struct ckpt_caller *c)
{
	const struct ckpt_frame_layout *l = &c->layout;
	int r = ckpt_vm_put(c->t->tid, c->at, c->frame, l->front);

	return r < 0 ? r : ckpt_vm_put(c->t->tid, c->at + l->data, c->frame + l->data, c->data_len);
}

/* 1: it runs, 0: nothing is left to ask. */
static int start_chain(struct ckpt_caller *c, struct ckpt_err *err)
{
	struct user_regs_struct regs;
	int r = 0;

	if (!c->chain_is_there) {
		if (!ckpt_caller_make_chain(c))
			return 0;
		r = put_chain(c);
		if (r < 0)
			return ckpt_caller_lost(c->t, r, "write to its memory", err);
	}
	c->chain_is_there = false;
	regs = regs_for_chain(c);
	r = enter(c->t, &regs, ALL_SIGNALS & ~(1ull << (c->signal - 1)), err);
	if (r >= 0)
		r = resume(c->t, PTRACE_CONT, err);
	c->runs = r >= 0;
	return r < 0 ? r : 1;
}

static int await_chain(struct ckpt_caller *c, struct ckpt_err *err)
{
	uint8_t *data = c->frame + c->layout.data;
	struct ckpt_tracee *t = c->t;

	c->runs = false;
	for (int i = 0; i < AGAIN_MAX; i++) {
		int r = i ? run(t, PTRACE_CONT, c->signal, err) :
			    await_stop(t, PTRACE_CONT, c->signal, err);

		if (r < 0)
			return r;
		r = ckpt_vm_get(t->tid, c->at + c->layout.data, data, c->data_len);
		if (r < 0)
			return ckpt_caller_lost(t, r, "read its memory", err);
		if (ckpt_round_take(c->round, t, data))
			return 1; /* else somebody else has sent that signal */
	}
	return ckpt_fail(err, -EBUSY, "thread %d: cannot run system calls in it", t->tid);
}

static int ask_all(struct ckpt_caller *c, struct ckpt_err *err)
{
	int r = c->data_len ? 1 : 0;

	if (c->runs)
		r = await_chain(c, err);
	while (r > 0) {
		r = start_chain(c, err);
		if (r > 0)
			r = await_chain(c, err);
	}
	return r;
}

/* ---- who makes calls ---- */

static int begin(struct ckpt_remote *remote, struct ckpt_caller *c, struct ckpt_tree *tree,
		 struct ckpt_tracee *t, const struct ckpt_call *first, struct ckpt_err *err)
{
	int r;

	pthread_mutex_lock(&remote->lock);
	r = ckpt_caller_begin(c, tree, t, first, err);
	pthread_mutex_unlock(&remote->lock);
	return r;
}

/* Whoever is still running has died if it does not stop. */
static void end(struct ckpt_remote *remote, struct ckpt_caller *c)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;

	if (c->runs)
		await_chain(c, &ignored);
	pthread_mutex_lock(&remote->lock);
	ckpt_caller_end(c);
	pthread_mutex_unlock(&remote->lock);
}

void ckpt_remote_finish(struct ckpt_tree *tree)
{
	for (int i = 0; i < CALLERS; i++)
		end(tree->remote, &tree->remote->caller[i]);
	ckpt_scratch_map_close(&tree->remote->map);
}

void ckpt_remote_rest(struct ckpt_tree *tree, pid_t tid)
{
	for (int i = 0; i < CALLERS; i++) {
		struct ckpt_caller *c = &tree->remote->caller[i];
		const struct ckpt_tracee *t = ckpt_tree_thread(tree, tid);

		if (c->t && (!t || c->t->proc == t->proc))
			end(tree->remote, c);
	}
}

void ckpt_remote_hide(struct ckpt_tree *tree, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct ckpt_remote *remote = tree->remote;

	pthread_mutex_lock(&remote->lock);
	for (int i = 0; i < CALLERS; i++)
		ckpt_caller_hide(&remote->caller[i], pid, addr, buf, len);
	pthread_mutex_unlock(&remote->lock);
}

/* ---- one call ---- */

static struct user_regs_struct regs_for(const struct ckpt_caller *c, const struct ckpt_call *call)
{
	struct user_regs_struct regs = c->t->found;

	for (int i = 0; i < 6; i++)
		*ckpt_interrupted_arg(&regs, i) = i == call->buf_arg ? c->at : call->arg[i];
	regs.rax = call->nr;
	regs.orig_rax = -1; /* it is in no call: nothing is to be restarted */
	regs.rip = c->t->proc->gadgets.call;
	regs.rsp = c->at + c->layout.sp;
	return regs;
}

int ckpt_remote_made(struct ckpt_tracee *t, int64_t *retp, struct ckpt_err *err)
{
	int r = run(t, PTRACE_SYSCALL, CKPT_SYSCALL_STOP, err); /* its exit */

	if (r)
		return r;
	r = ckpt_pt_result(t->tid, retp);
	return r < 0 ? ckpt_caller_lost(t, r, "read the result of its system call", err) : 0;
}

int ckpt_remote_make(struct ckpt_tracee *t, const struct user_regs_struct *regs, int64_t *retp,
		     struct ckpt_err *err)
{
	int r = enter(t, regs, ALL_SIGNALS, err);

	if (r >= 0)
		r = run(t, PTRACE_SYSCALL, CKPT_SYSCALL_STOP, err); /* its entry */
	return r < 0 ? r : ckpt_remote_made(t, retp, err);
}

static int once(struct ckpt_caller *c, struct ckpt_call *call, struct ckpt_err *err)
{
	struct user_regs_struct regs = regs_for(c, call);

	return ckpt_remote_make(c->t, &regs, &call->ret, err);
}

static bool never_seen_by_programs(int64_t ret)
{
	return ret <= -512 && ret >= -516;
}

/* Whether T survives it should we die meanwhile. */
static int check_filters(const struct ckpt_caller *c, const struct ckpt_call *call,
			 struct ckpt_err *err)
{
	uint64_t arg[6];

	memcpy(arg, call->arg, sizeof(arg));
	if (call->buf_arg >= 0)
		arg[call->buf_arg] = c->at;
	if (ckpt_filters_bear(c->t, call->nr, arg))
		return 0;
	return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM,
			   "thread %d: its seccomp filter does not let it make system call %ld, "
			   "which ckpt has to ask",
			   c->t->tid, call->nr);
}

static int make(struct ckpt_caller *c, struct ckpt_call *call, struct ckpt_err *err)
{
	struct ckpt_tracee *t = c->t;
	bool has_buf = call->buf_arg >= 0 && call->buf_len;
	int r = check_filters(c, call, err);

	if (r < 0)
		return r;
	r = has_buf ? ckpt_vm_put(t->tid, c->at, call->buf, call->buf_len) : 0;
	if (r < 0)
		return ckpt_caller_lost(t, r, "write to its memory", err);
	for (int i = 0; i < AGAIN_MAX; i++) {
		r = call->takes ? ckpt_caller_take(c, call, regs_for(c, call), err) :
				  once(c, call, err);
		if (r < 0)
			return r;
		if (!never_seen_by_programs(call->ret))
			break;
	}
	r = has_buf ? ckpt_vm_get(t->tid, c->at, call->buf, call->buf_len) : 0;
	return r < 0 ? ckpt_caller_lost(t, r, "read its memory", err) : 0;
}

/* T is the one that makes calls from now on, and has been asked what others were. */
static int turn_to(struct ckpt_tree *tree, struct ckpt_tracee *t, const struct ckpt_call *first,
		   struct ckpt_err *err)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_caller *ahead = caller_of(remote, t);
	int r = 1;

	if (ahead == remote->active)
		ahead = NULL;
	end(remote, remote->active);
	if (ahead)
		remote->active = ahead;
	else
		r = begin(remote, remote->active, tree, t, first, err);
	return r < 0 ? r : ask_all(remote->active, err);
}

static bool answer(const struct ckpt_remote *remote, const struct ckpt_tracee *t,
		   struct ckpt_call *call)
{
	for (int i = 0; i < CALLERS; i++)
		if (ckpt_round_answer(remote->caller[i].round, t, call))
			return true;
	return false;
}

static bool is_ready(const struct ckpt_caller *c, const struct ckpt_tracee *t,
		     const struct ckpt_call *call)
{
	return c->t == t && (call->buf_arg < 0 || call->buf_len <= c->buf_len) &&
	       (!ckpt_wants_page(call) || c->for_page);
}

int ckpt_remote_call(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_call *call,
		     struct ckpt_err *err)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_caller *own = caller_of(remote, t);
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
	/* Also if the answer is there by now: who is ahead is in the way of the next ones. */
	if (own && own != remote->active)
		r = turn_to(tree, t, call, err);
	answered = r >= 0 && answer(remote, t, call); /* which fills its buffer */
	for (int i = 0; i < 2 && r >= 0 && !answered && !is_ready(remote->active, t, call); i++) {
		r = turn_to(tree, t, call, err);
		answered = r >= 0 && answer(remote, t, call);
	}
	if (r >= 0 && !answered)
		r = make(remote->active, call, err);
	if (r >= 0)
		ckpt_batch_learn(remote->batch, t, &asked);
	else
		ckpt_remote_finish(tree);
	return r;
}

int ckpt_remote_caller(struct ckpt_tree *tree, struct ckpt_tracee *t, const struct ckpt_call *first,
		       const struct ckpt_caller **cp, struct ckpt_err *err)
{
	int r = turn_to(tree, t, first, err);

	*cp = tree->remote->active;
	return r < 0 ? r : 0;
}

/* Nothing is lost where it cannot be done: it is asked when its turn comes. */
void ckpt_remote_ahead(struct ckpt_tree *tree, struct ckpt_tracee *t)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_caller *c = remote->active->next;
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int r;

	while (c != remote->active && c->t)
		c = c->next;
	if (c == remote->active || caller_of(remote, t))
		return;
	r = begin(remote, c, tree, t, NULL, &ignored);
	if (r > 0 && start_chain(c, &ignored) <= 0)
		end(remote, c);
}

void ckpt_remote_await(struct ckpt_tree *tree, const struct ckpt_tracee *t)
{
	struct ckpt_caller *c = caller_of(tree->remote, t);
	struct ckpt_err ignored = CKPT_ERR_INIT;

	if (c && c->runs && await_chain(c, &ignored) < 0)
		end(tree->remote, c);
}

void ckpt_remote_reset(struct ckpt_tree *tree)
{
	ckpt_batch_reset(tree->remote->batch);
	ckpt_scratch_map_close(&tree->remote->map);
	for (int i = 0; i < CALLERS; i++)
		ckpt_round_forget(tree->remote->caller[i].round);
}
