/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ckpt.h offers to the program. The tables have a fixed size and no lock: a thread that is
 * parked in the middle of a change, a signal handler and the child of a fork all find them whole.
 * What a thread was writing when it was interrupted does not count yet.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "libinproc/inproc.h"
#include "libinproc/ckpt.h"

#define N_HOOKS 64
#define N_RANGES 256
#define PAGE 4096ull

/* ---- hooks ---- */

static struct {
	ckpt_hook hook;
	void *arg;
	enum ckpt_event event;
	int ready; /* all of it is written; entries never change afterwards */
} hooks[N_HOOKS];
static unsigned int n_hooks; /* given out, in order of registration */
static pid_t hooks_by;       /* the thread that is running them */

static unsigned int n_given(void)
{
	return __atomic_load_n(&n_hooks, __ATOMIC_ACQUIRE);
}

static bool is_there(enum ckpt_event event, ckpt_hook hook, void *arg)
{
	for (unsigned int i = 0; i < n_given(); i++)
		if (__atomic_load_n(&hooks[i].ready, __ATOMIC_ACQUIRE) && hooks[i].event == event &&
		    hooks[i].hook == hook && hooks[i].arg == arg)
			return true;
	return false;
}

CKPT_EXPORT int ckpt_on(enum ckpt_event event, ckpt_hook hook, void *arg)
{
	unsigned int i = n_given();

	if (!hook || event < CKPT_BEFORE || event > CKPT_ON_RESTORE)
		return -EINVAL;
	if (is_there(event, hook, arg))
		return 0;
	do {
		if (i >= N_HOOKS)
			return -ENOSPC;
	} while (!__atomic_compare_exchange_n(&n_hooks, &i, i + 1, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	hooks[i].hook = hook;
	hooks[i].arg = arg;
	hooks[i].event = event;
	__atomic_store_n(&hooks[i].ready, 1, __ATOMIC_RELEASE);
	return 0;
}

bool ckpt_has_hooks(void)
{
	return n_given() > 0;
}

static int run(unsigned int i, enum ckpt_event event)
{
	if (!__atomic_load_n(&hooks[i].ready, __ATOMIC_ACQUIRE) || hooks[i].event != event)
		return 0;
	return hooks[i].hook(event, hooks[i].arg);
}

/* What the hooks return does not matter here: there is nothing left to refuse. */
static void run_backwards(enum ckpt_event event)
{
	for (unsigned int i = n_given(); i-- > 0;)
		run(i, event);
}

static int run_before(void)
{
	int r = 0;

	for (unsigned int i = 0; i < n_given() && !r; i++)
		r = run(i, CKPT_BEFORE);
	return r;
}

int ckpt_run_hooks(enum ckpt_hook_event event)
{
	int saved = errno, r = 0;

	if (!ckpt_has_hooks())
		return 0;
	__atomic_store_n(&hooks_by, syscall(SYS_gettid), __ATOMIC_RELEASE);
	if (event == CKPT_HOOK_BEFORE)
		r = run_before();
	else
		run_backwards(event == CKPT_HOOK_AFTER ? CKPT_AFTER : CKPT_ON_RESTORE);
	__atomic_store_n(&hooks_by, 0, __ATOMIC_RELEASE);
	errno = saved;
	return r;
}

/* ---- memory that need not be kept ---- */

/* STATE counts up with each use, so that a slot that came back as another range in between is not
 * taken for the old one; its lowest bits say what is in it. */
enum { FREE, WRITING, VALID, STATES = 4 };
static struct {
	uint64_t start, len;
	uint32_t state;
} ranges[N_RANGES];

static bool become(unsigned int i, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&ranges[i].state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static uint32_t state_of(unsigned int i)
{
	return __atomic_load_n(&ranges[i].state, __ATOMIC_ACQUIRE);
}

CKPT_EXPORT int ckpt_exclude(void *addr, size_t len)
{
	uint64_t start = (uintptr_t)addr;

	if (!start || !len || start + len < start)
		return -EINVAL;
	for (unsigned int i = 0; i < N_RANGES; i++) {
		uint32_t state = state_of(i);

		if (state % STATES != FREE || !become(i, state, state + WRITING))
			continue;
		ranges[i].start = start;
		ranges[i].len = len;
		__atomic_store_n(&ranges[i].state, state + VALID, __ATOMIC_RELEASE);
		return 0;
	}
	return -ENOSPC;
}

CKPT_EXPORT int ckpt_include(void *addr, size_t len)
{
	for (unsigned int i = 0; i < N_RANGES; i++) {
		uint32_t state = state_of(i);

		if (state % STATES == VALID && ranges[i].start == (uintptr_t)addr &&
		    ranges[i].len == len && become(i, state, state - VALID + STATES))
			return 0;
	}
	return -ENOENT;
}

size_t ckpt_excluded(struct ckpt_wire_range *range, size_t max)
{
	size_t n = 0;

	for (unsigned int i = 0; i < N_RANGES && n < max; i++) {
		uint64_t start = (ranges[i].start + PAGE - 1) & -PAGE;
		uint64_t end = (ranges[i].start + ranges[i].len) & -PAGE;

		if (state_of(i) % STATES == VALID && start < end)
			range[n++] = (struct ckpt_wire_range){ start, end - start };
	}
	return n;
}

/* ---- critical sections ---- */

static int n_disabled;    /* by all threads together */
static __thread int mine; /* of these, by this thread */
static int noted, told_fork;

/* Only the thread that forked goes on here: the sections of the others are not. */
static void in_child(void)
{
	n_disabled = mine;
	noted = 0;
}

CKPT_EXPORT void ckpt_disable(void)
{
	if (!__atomic_exchange_n(&told_fork, 1, __ATOMIC_ACQ_REL))
		pthread_atfork(NULL, NULL, in_child);
	mine++;
	__atomic_add_fetch(&n_disabled, 1, __ATOMIC_SEQ_CST);
}

/* One too many is ignored. */
CKPT_EXPORT void ckpt_enable(void)
{
	int n = __atomic_load_n(&n_disabled, __ATOMIC_SEQ_CST);

	do {
		if (n <= 0)
			return;
	} while (!__atomic_compare_exchange_n(&n_disabled, &n, n - 1, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	mine -= mine > 0;
	/* A section that follows at once must not keep off for ever who asks. */
	if (n == 1 && __atomic_exchange_n(&noted, 0, __ATOMIC_SEQ_CST))
		ckpt_give_way();
}

bool ckpt_is_disabled(void)
{
	return __atomic_load_n(&n_disabled, __ATOMIC_SEQ_CST) > 0;
}

void ckpt_disabled_note(void)
{
	__atomic_store_n(&noted, 1, __ATOMIC_SEQ_CST);
}

/* ---- asking for a checkpoint ---- */

static char error_text[512];

void ckpt_set_error(const char *text, size_t len)
{
	if (len >= sizeof(error_text))
		len = sizeof(error_text) - 1;
	/* Whoever reads it meanwhile finds an end. */
	error_text[sizeof(error_text) - 1] = 0;
	memcpy(error_text, text, len);
	error_text[len] = 0;
}

static int refuse(int code, const char *why)
{
	ckpt_set_error(why, strlen(why));
	return code;
}

CKPT_EXPORT int ckpt_now(void)
{
	int r;

	if (!ckpt_config.on)
		return refuse(-ENOTSUP, "checkpoint: the library is not active in this process");
	if (__atomic_load_n(&hooks_by, __ATOMIC_ACQUIRE) == syscall(SYS_gettid))
		return refuse(-EDEADLK, "checkpoint: a hook cannot ask for one");
	if (ckpt_is_disabled())
		return refuse(-EBUSY, "checkpoint: the program has called ckpt_disable()");
	error_text[0] = 0;
	r = ckpt_checkpoint_now();
	if (r < 0 && !error_text[0])
		refuse(r, "checkpoint: cannot be taken");
	return r;
}

CKPT_EXPORT const char *ckpt_error(void)
{
	return error_text;
}
