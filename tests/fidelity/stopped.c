/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a thread itself can tell, by system calls that it makes while all of the tree stands
 * still. A row for each question. What ckpt uses to ask is used to compare: a row that it never
 * asks is where it forgets something.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "injector/source-ptrace.h"
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

#define FREEZE_S 20
#define ARENA (512ul << 20)

/* Newer than some headers. */
#define PR_GET_MDWE_ 66                 /* Linux 6.3 */
#define PR_GET_MEMORY_MERGE_ 68         /* 6.4 */
#define PR_GET_SHADOW_STACK_STATUS_ 74  /* 6.14 */
#define PR_TIMER_CREATE_RESTORE_IDS_ 77 /* 6.15 */
#define PR_FUTEX_HASH_ 78               /* 6.16 */
#define ARCH_GET_CPUID_ 0x1011
#define ARCH_GET_XCOMP_PERM_ 0x1022
#define ARCH_GET_XCOMP_GUEST_PERM_ 0x1024
#define ARCH_SHSTK_STATUS_ 0x5005
#define GET_SYSCALL_USER_DISPATCH 0x4211 /* 6.4 */
#define SECCOMP_GET_FILTER 0x420c

struct asking {
	struct oracle *o;
	struct ckpt_source *src;
	pid_t tid;
	char key[48]; /* of the thread */
	bool refused; /* it makes no calls; its first answer says so */
};

static const struct question {
	const char *name;
	bool of_process; /* the leader is asked for all */
	long nr;
	uint64_t arg[6];
	int buf; /* the argument that points to the answer, or -1: the answer is what it returns */
	size_t len;
} questions[] = {
	{ "pdeathsig", false, SYS_prctl, { PR_GET_PDEATHSIG }, 1, 4 },
	{ "dumpable", true, SYS_prctl, { PR_GET_DUMPABLE }, -1 },
	{ "keepcaps", false, SYS_prctl, { PR_GET_KEEPCAPS }, -1 },
	{ "timing", false, SYS_prctl, { PR_GET_TIMING }, -1 },
	{ "tsc", false, SYS_prctl, { PR_GET_TSC }, 1, 4 },
	{ "securebits", false, SYS_prctl, { PR_GET_SECUREBITS }, -1 },
	{ "timerslack", false, SYS_prctl, { PR_GET_TIMERSLACK }, -1 },
	{ "mce_kill", false, SYS_prctl, { PR_MCE_KILL_GET }, -1 },
	{ "subreaper", true, SYS_prctl, { PR_GET_CHILD_SUBREAPER }, 1, 4 },
	{ "no_new_privs", false, SYS_prctl, { PR_GET_NO_NEW_PRIVS }, -1 },
	{ "tid_address", false, SYS_prctl, { PR_GET_TID_ADDRESS }, 1, 8 },
	{ "thp_disable", true, SYS_prctl, { PR_GET_THP_DISABLE }, -1 },
	{ "store_bypass", false, SYS_prctl, { PR_GET_SPECULATION_CTRL, 0 }, -1 },
	{ "indirect_branch", false, SYS_prctl, { PR_GET_SPECULATION_CTRL, 1 }, -1 },
	{ "l1d_flush", false, SYS_prctl, { PR_GET_SPECULATION_CTRL, 2 }, -1 },
	{ "io_flusher", true, SYS_prctl, { PR_GET_IO_FLUSHER }, -1 },
	{ "mdwe", true, SYS_prctl, { PR_GET_MDWE_ }, -1 },
	{ "memory_merge", true, SYS_prctl, { PR_GET_MEMORY_MERGE_ }, -1 },
	{ "prctl_shadow_stack", false, SYS_prctl, { PR_GET_SHADOW_STACK_STATUS_ }, 1, 8 },
	{ "timer_ids", true, SYS_prctl, { PR_TIMER_CREATE_RESTORE_IDS_, 2 }, -1 },
	{ "futex_slots", true, SYS_prctl, { PR_FUTEX_HASH_, 2 }, -1 },
	{ "cpuid", false, SYS_arch_prctl, { ARCH_GET_CPUID_ }, -1 },
	{ "xcomp", true, SYS_arch_prctl, { ARCH_GET_XCOMP_PERM_ }, 1, 8 },
	{ "xcomp_guest", true, SYS_arch_prctl, { ARCH_GET_XCOMP_GUEST_PERM_ }, 1, 8 },
	{ "shadow_stack", false, SYS_arch_prctl, { ARCH_SHSTK_STATUS_ }, 1, 8 },
	{ "altstack", false, SYS_sigaltstack, { 0 }, 1, sizeof(stack_t) },
	{ "memory_policy", false, SYS_get_mempolicy, { 0, 0, 0 }, 0, 4 },
	{ "memory_nodes", false, SYS_get_mempolicy, { 0, 0, 1024 }, 1, 128 },
	{ "membarrier", true, SYS_membarrier, { 512 /* GET_REGISTRATIONS, 6.3 */ }, -1 },
	{ "personality", true, SYS_personality, { 0xffffffff }, -1 },
	{ "nice", false, SYS_getpriority, { 0, 0 }, -1 },
	{ "brk", true, SYS_brk, { 0 }, -1 },
	{ "session", true, SYS_getsid, { 0 }, -1 },
	{ "group", true, SYS_getpgid, { 0 }, -1 },
};

static bool call(struct asking *a, struct ckpt_call *c)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	if (a->refused)
		return false;
	if (a->src->ops->call(a->src, a->tid, c, &err) < 0) {
		oracle_add(a->o, "cannot make calls", "%s/calls", a->key);
		a->refused = true;
	}
	return !a->refused;
}

static void ask(struct asking *a, const struct question *q)
{
	unsigned char answer[256] = { 0 };
	struct ckpt_call c = { .nr = q->nr, .buf_arg = q->buf };
	char text[40];

	memcpy(c.arg, q->arg, sizeof(c.arg));
	if (q->buf >= 0) {
		c.buf = answer;
		c.buf_len = q->len;
	}
	if (!call(a, &c))
		return;
	snprintf(text, sizeof(text), "%lld", (long long)c.ret);
	if (q->buf >= 0 && c.ret >= 0)
		oracle_add_bytes(a->o, answer, q->len, "%s/%s", a->key, q->name);
	else
		oracle_add(a->o, text, "%s/%s", a->key, q->name);
}

static void ask_actions(struct asking *a)
{
	for (int sig = 1; sig < 65 && !a->refused; sig++) {
		unsigned char action[32] = { 0 };
		struct ckpt_call c = { .nr = SYS_rt_sigaction,
				       .arg = { sig, 0, 0, 8 },
				       .buf_arg = 2,
				       .buf = action,
				       .buf_len = sizeof(action) };

		uint64_t handler;

		if (!call(a, &c) || c.ret < 0)
			continue;
		memcpy(&handler, action, 8);
		oracle_add_bytes(a->o, action, sizeof(action), "%s/%s/%d", a->key,
				 handler || sig == SIGCHLD ? "action" : "default action", sig);
	}
}

/* How often, and whether at all: what is left changes with time. */
static void add_timer(struct asking *a, const void *spec, const char *what, int id)
{
	uint64_t v[4]; /* interval, value: seconds and parts of them */
	char text[80];

	memcpy(v, spec, sizeof(v));
	snprintf(text, sizeof(text), "every %lu+%lu, %s", v[0], v[1],
		 v[2] || v[3] ? "runs" : "stands");
	oracle_add(a->o, text, "%s/%s/%d", a->key, what, id);
}

static void ask_timers(struct asking *a, pid_t pid)
{
	unsigned char spec[32];
	char path[64], *text, *line, *save;

	for (int which = 0; which < 3; which++) {
		struct ckpt_call c = { .nr = SYS_getitimer,
				       .arg = { which },
				       .buf_arg = 1,
				       .buf = spec,
				       .buf_len = sizeof(spec) };

		if (call(a, &c) && c.ret == 0)
			add_timer(a, spec, "itimer", which);
	}
	snprintf(path, sizeof(path), "/proc/%d/timers", pid);
	text = test_read(path, NULL);
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		int id;
		struct ckpt_call c = { .nr = SYS_timer_gettime,
				       .buf_arg = 1,
				       .buf = spec,
				       .buf_len = sizeof(spec) };

		if (sscanf(line, "ID: %d", &id) != 1)
			continue;
		c.arg[0] = id;
		if (call(a, &c) && c.ret == 0)
			add_timer(a, spec, "timer", id);
	}
	free(text);
}

/* In order among those of one number: across numbers there is none that anybody can see. */
static void add_signals(struct asking *a, bool of_process)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	unsigned int nth[65] = { 0 };
	siginfo_t info;

	for (unsigned int i = 0; i < 1000; i++) {
		memset(&info, 0, sizeof(info));
		if (a->src->ops->peek_signal(a->src, a->tid, of_process, i, &info, &err) != 1)
			break;
		if (info.si_signo < 1 || info.si_signo > 64)
			continue;
		oracle_add_bytes(a->o, &info, 48, "%s/waiting %s/%d/%u", a->key,
				 of_process ? "signals of all" : "signals", info.si_signo,
				 nth[info.si_signo]++);
	}
}

/* The others change as long as a thread does anything, if only to wait: stories look at them. */
static void add_registers(struct asking *a, const struct ckpt_regs *r)
{
	uint64_t v[] = { r->gp.fs_base, r->gp.gs_base, r->gp.cs, r->gp.ss,
			 r->gp.ds,      r->gp.es,      r->gp.fs, r->gp.gs };

	oracle_add_bytes(a->o, v, sizeof(v), "%s/registers/segments", a->key);
}

static void add_traced(struct asking *a)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	unsigned char dispatch[32] = { 0 }, filter[8 * 4096];
	uint64_t addr = 0;
	uint32_t size = 0, signature = 0;
	long n;

	if (ptrace(GET_SYSCALL_USER_DISPATCH, a->tid, sizeof(dispatch), dispatch) == 0)
		oracle_add_bytes(a->o, dispatch, sizeof(dispatch), "%s/dispatch", a->key);
	for (uint64_t i = 0; i < 32; i++) {
		n = ptrace(SECCOMP_GET_FILTER, a->tid, i, filter);
		if (n <= 0)
			break;
		oracle_add_bytes(a->o, filter, n * 8, "%s/filter/%lu", a->key, i);
	}
	if (a->src->ops->rseq(a->src, a->tid, &addr, &size, &signature, &err) == 0) {
		uint64_t v[] = { addr, size, signature };

		oracle_add_bytes(a->o, v, sizeof(v), "%s/rseq", a->key);
	}
}

static void add_thread(struct oracle *o, struct ckpt_source *src, const struct ckpt_frozen *f,
		       size_t i, pid_t name, struct ckpt_arena *arena)
{
	struct asking a = { .o = o, .src = src, .tid = f->tids[i] };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_regs regs;

	snprintf(a.key, sizeof(a.key), "%d/thread %d", name, test_inner_pid(a.tid));
	if (src->ops->regs(src, a.tid, arena, &regs, &err) == 0)
		add_registers(&a, &regs);
	add_signals(&a, false);
	add_traced(&a);
	for (size_t j = 0; j < ARRAY_SIZE(questions); j++)
		if (!i || !questions[j].of_process)
			ask(&a, &questions[j]);
	if (i)
		return;
	add_signals(&a, true);
	ask_actions(&a);
	ask_timers(&a, f->pid);
}

/* Those that slept do so again: a story might otherwise change what they wait for before. */
static void let_settle(const struct ckpt_frozen *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < f[i].n_tids; j++)
			for (int k = 0; k < 20 && test_proc_state(f[i].tids[j], NULL) == 'R'; k++)
				test_sleep_ms(1);
}

static void add_tree(struct oracle *o, pid_t root, struct ckpt_arena *arena)
{
	struct ckpt_ptrace_opts opts = { .timeout_s = FREEZE_S };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_source *src = NULL;
	struct ckpt_frozen *f;
	size_t n;

	if (ckpt_source_ptrace_open(&src, arena, root, &opts, &err) < 0 ||
	    src->ops->freeze(src, arena, &f, &n, &err) < 0) {
		oracle_add(o, err.text, "%d/stop", test_inner_pid(root));
		ckpt_source_close(src);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		pid_t name = test_inner_pid(f[i].pid);

		if (f[i].zombie)
			continue;
		for (size_t j = 0; j < f[i].n_tids; j++)
			add_thread(o, src, &f[i], j, name, arena);
		oracle_add_pages(o, src, &f[i], name);
	}
	ckpt_source_close(src);
	let_settle(f, n);
}

void oracle_add_stopped(struct oracle *o, const pid_t *pids, size_t n)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	for (size_t i = 0; i < n; i++) {
		struct ckpt_arena *arena;
		pid_t parent = 0;
		bool below = test_proc_state(pids[i], &parent) == 'Z';

		for (size_t j = 0; j < n; j++)
			below |= pids[j] == parent;
		if (below || ckpt_arena_open(&arena, ARENA, &err) < 0)
			continue;
		add_tree(o, pids[i], arena);
		ckpt_arena_close(arena);
	}
}
