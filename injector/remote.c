/* SPDX-License-Identifier: Apache-2.0 */
/* System calls made by a stopped thread; the next ones are asked what the last one was asked while
 * that one's state is collected. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include "engine/base/text.h"
#include "injector/ask.h"
#include "injector/caller.h"
#include "injector/filters.h"
#include "injector/ptrace.h"
#include "injector/questions.h"
#include "injector/remote.h"
#include "injector/run.h"

#define AGAIN_MAX 10
#define XSTATE_MAX (64u << 10)
#define CALLERS (1 + CKPT_SOON)

struct ckpt_remote {
	pthread_mutex_t lock; /* of the callers, for readers of memory in other threads */
	struct ckpt_caller caller[CALLERS];
	struct ckpt_caller *active; /* may be nobody, as the others may: those are ahead, or done */
	unsigned int n_groups;
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
	}
	remote->active = &remote->caller[0];
	ckpt_caller_equip(remote->active, arena); /* the others are for programs with threads */
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

static struct ckpt_caller *caller_of(struct ckpt_remote *remote, const struct ckpt_tracee *t)
{
	for (int i = 0; i < CALLERS; i++)
		if (remote->caller[i].t == t)
			return &remote->caller[i];
	return NULL;
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

/* Callers of PROC, or of all; whoever is still running has died if it does not stop. */
static void end_some(struct ckpt_remote *remote, const struct ckpt_proc *proc, bool only_done)
{
	struct ckpt_caller *v[CALLERS];
	size_t n = 0;

	for (int i = 0; i < CALLERS; i++) {
		struct ckpt_caller *c = &remote->caller[i];
		struct ckpt_err ignored = CKPT_ERR_INIT;

		if (!c->t || (proc && c->t->proc != proc) || (only_done && !c->done))
			continue;
		if (c->runs)
			ckpt_ask_await(c, &ignored);
		v[n++] = c;
	}
	pthread_mutex_lock(&remote->lock);
	ckpt_callers_end(v, n);
	pthread_mutex_unlock(&remote->lock);
}

static void end(struct ckpt_remote *remote, struct ckpt_caller *c)
{
	c->done = true;
	end_some(remote, NULL, true);
}

void ckpt_remote_finish(struct ckpt_tree *tree)
{
	end_some(tree->remote, NULL, false);
	ckpt_scratch_map_close(&tree->remote->map);
}

void ckpt_remote_rest(struct ckpt_tree *tree, pid_t tid)
{
	const struct ckpt_tracee *t = ckpt_tree_thread(tree, tid);

	end_some(tree->remote, t ? t->proc : NULL, false);
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
	int r = ckpt_tracee_run(t, PTRACE_SYSCALL, CKPT_SYSCALL_STOP, err); /* its exit */

	if (r)
		return r;
	r = ckpt_pt_result(t->tid, retp);
	return r < 0 ? ckpt_caller_lost(t, r, "read the result of its system call", err) : 0;
}

int ckpt_remote_make(struct ckpt_tracee *t, const struct user_regs_struct *regs, int64_t *retp,
		     struct ckpt_err *err)
{
	int r = ckpt_tracee_enter(t, regs, CKPT_ALL_SIGNALS, err);

	if (r >= 0)
		r = ckpt_tracee_run(t, PTRACE_SYSCALL, CKPT_SYSCALL_STOP, err); /* its entry */
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

/* Those that were started with C, all at once. */
static void await_group(struct ckpt_remote *remote, const struct ckpt_caller *c)
{
	struct ckpt_caller *v[CALLERS];
	size_t n = 0;

	for (int i = 0; i < CALLERS && c->runs && !c->stands; i++) {
		struct ckpt_caller *o = &remote->caller[i];

		if (o->runs && !o->stands && o->group == c->group)
			v[n++] = o;
	}
	ckpt_ask_await_group(v, n);
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
	if (ahead) {
		remote->active->done = true;
		remote->active = ahead;
		ahead->done = false;
		await_group(remote, ahead);
	} else {
		end(remote, remote->active);
		r = begin(remote, remote->active, tree, t, first, err);
	}
	return r < 0 ? r : ckpt_ask_all(remote->active, err);
}

static bool answer(const struct ckpt_remote *remote, const struct ckpt_tracee *t,
		   struct ckpt_call *call)
{
	for (int i = 0; i < CALLERS; i++)
		if (remote->caller[i].round && ckpt_round_answer(remote->caller[i].round, t, call))
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

static struct ckpt_caller *free_one(struct ckpt_remote *remote)
{
	struct ckpt_caller *c = remote->active->next;

	while (c != remote->active && c->t)
		c = c->next;
	return c == remote->active ? NULL : c;
}

/* Nothing is lost where it cannot be done: it is asked when its turn comes. */
void ckpt_remote_ahead(struct ckpt_tree *tree, struct ckpt_tracee **t, size_t n)
{
	struct ckpt_remote *remote = tree->remote;
	struct ckpt_caller *v[CKPT_SOON], *c;
	struct ckpt_err ignored = CKPT_ERR_INIT;
	size_t n_new = 0;

	end_some(remote, NULL, true);
	for (size_t i = 0; i < n && (c = free_one(remote)); i++)
		if (!caller_of(remote, t[i]) && begin(remote, c, tree, t[i], NULL, &ignored) > 0)
			v[n_new++] = c;
	pthread_mutex_lock(&remote->lock);
	ckpt_callers_put(v, n_new);
	pthread_mutex_unlock(&remote->lock);
	remote->n_groups++;
	for (size_t i = 0; i < n_new; i++) {
		v[i]->group = remote->n_groups;
		if (v[i]->t && ckpt_ask_start(v[i], &ignored) <= 0)
			end(remote, v[i]);
	}
}

void ckpt_remote_await(struct ckpt_tree *tree, const struct ckpt_tracee *t)
{
	struct ckpt_caller *c = caller_of(tree->remote, t);
	struct ckpt_err ignored = CKPT_ERR_INIT;

	if (c)
		await_group(tree->remote, c);
	if (c && c->runs && ckpt_ask_await(c, &ignored) < 0)
		end(tree->remote, c);
}

void ckpt_remote_reset(struct ckpt_tree *tree)
{
	ckpt_batch_reset(tree->remote->batch);
	ckpt_scratch_map_close(&tree->remote->map);
	for (int i = 0; i < CALLERS; i++)
		if (tree->remote->caller[i].round)
			ckpt_round_forget(tree->remote->caller[i].round);
}
