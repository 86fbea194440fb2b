/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler of the reserved signal, which the requester sends to every thread. The first to come
 * leads: it waits until all others are parked, and only then opens anything: no other thread sees a
 * descriptor of ours. A restore puts all threads back into it, to go on as after the checkpoint.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"
#include "libinproc/wrap.h"

#define STUCK_MS 100 /* as long everybody waits for the next one to come */
#define HOOK_REFUSED "CKPT-E0114: a hook of the program refused the checkpoint"
#define REQUESTS_MAX 100
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

static __thread struct ckpt_rest rest;

/* What setjmp(3) keeps, with room for the rest. The offsets are those of struct user_regs_struct.
 */
__asm__(".text\n"
	".type ckpt_context_save, @function\n"
	"ckpt_context_save:\n"
	"	mov %r15, 0(%rdi)\n"
	"	mov %r14, 8(%rdi)\n"
	"	mov %r13, 16(%rdi)\n"
	"	mov %r12, 24(%rdi)\n"
	"	mov %rbp, 32(%rdi)\n"
	"	mov %rbx, 40(%rdi)\n"
	"	mov (%rsp), %rax\n"
	"	mov %rax, 128(%rdi)\n" /* rip: where we return to */
	"	lea 8(%rsp), %rax\n"
	"	mov %rax, 152(%rdi)\n" /* rsp */
	"	mov %cs, %eax\n"
	"	mov %rax, 136(%rdi)\n"
	"	mov %ss, %eax\n"
	"	mov %rax, 160(%rdi)\n"
	"	movq $0x202, 144(%rdi)\n" /* eflags */
	"	movq $1, 80(%rdi)\n"      /* rax */
	"	movq $-1, 120(%rdi)\n"    /* orig_rax */
	"	xor %eax, %eax\n"
	"	ret\n"
	".size ckpt_context_save, . - ckpt_context_save\n");
_Static_assert(offsetof(struct user_regs_struct, rbx) == 40, "layout");
_Static_assert(offsetof(struct user_regs_struct, rax) == 80, "layout");
_Static_assert(offsetof(struct user_regs_struct, orig_rax) == 120, "layout");
_Static_assert(offsetof(struct user_regs_struct, rip) == 128, "layout");
_Static_assert(offsetof(struct user_regs_struct, rsp) == 152, "layout");
_Static_assert(offsetof(struct user_regs_struct, ss) == 160, "layout");

/* ---- the leader ---- */

/* The folder has as many links, and two. */
long ckpt_n_threads(void)
{
	struct stat st;

	return ckpt_sys(SYS_stat, "/proc/self/task", &st) < 0 ? -1 : (long)st.st_nlink - 2;
}

/* It is listed as long as others go on. */
static bool main_has_ended(void)
{
	char byte;

	return ckpt_sys(SYS_readlink, "/proc/self/exe", &byte, 1) == -ENOENT;
}

/* Everybody gets the signal from the requester. */
static bool all_come(struct ckpt_session *s)
{
	static const struct timespec soon = { 0, 20000 }, later = { 0, 1000000 };
	uint64_t end = 0;
	uint32_t n, before = 0;

	for (;;) {
		long all = ckpt_n_threads();

		/* Not every one of hundreds has to wake us. */
		__atomic_store_n(&s->n_wanted, all < 0 ? 0 : all - 1, __ATOMIC_SEQ_CST);
		n = __atomic_load_n(&s->n_parked, __ATOMIC_SEQ_CST);
		if (!end || n != before)
			end = ckpt_now_ns() + STUCK_MS * 1000000ull;
		before = n;
		if (all == (long)n + 2 && main_has_ended())
			all--;
		if (all == (long)n + 1)
			return true;
		if (all < 0 || ckpt_now_ns() > end)
			return false;
		/* Whoever reads clocks all the time is in the vDSO nine times out of ten. */
		ckpt_sys(SYS_futex, &s->n_parked, FUTEX_WAIT_PRIVATE, n,
			 ckpt_call_again(s) ? &soon : &later);
	}
}

static bool wait_for_all(struct ckpt_session *s)
{
	bool all;

	ckpt_deaf_begin();
	all = all_come(s);
	ckpt_deaf_end();
	return all;
}

/* Hooks may need what other threads hold: these run meanwhile, until the requester has called them
 * again. */
static enum ckpt_wire_excuse run_before(struct ckpt_session *s, int fd, int *valuep)
{
	ckpt_release(s);
	*valuep = ckpt_run_hooks(CKPT_HOOK_BEFORE);
	if (*valuep)
		return CKPT_WIRE_HOOK;
	ckpt_lock(&s->lock);
	s->stopping = true;
	s->n_parked = 0;
	ckpt_unlock(&s->lock);
	if (!ckpt_serve_hello(fd, CKPT_WIRE_AGAIN, 0))
		return CKPT_WIRE_STUCK;
	return wait_for_all(s) ? CKPT_WIRE_PARKED : CKPT_WIRE_STUCK;
}

/* The kernel shows little of a process that is not dumpable (after setuid(2), say), not even to its
 * own user. Who asks may read its memory anyway, and nobody else runs. */
static void be_dumpable(struct ckpt_session *s, bool yes)
{
	if (yes)
		s->dumpable = ckpt_sys(SYS_prctl, PR_GET_DUMPABLE);
	if (s->dumpable == 0)
		ckpt_sys(SYS_prctl, PR_SET_DUMPABLE, yes);
}

/* Connected: nobody else runs. */
static void checkpoint(struct ckpt_session *s, int fd, struct ckpt_end *end)
{
	enum ckpt_wire_excuse excuse = ckpt_is_disabled() ? CKPT_WIRE_DISABLED : CKPT_WIRE_PARKED;
	bool hooks = excuse == CKPT_WIRE_PARKED && ckpt_has_hooks();
	int value = 0;

	if (excuse == CKPT_WIRE_DISABLED)
		ckpt_disabled_note();

	if (hooks)
		excuse = run_before(s, fd, &value);
	if (excuse == CKPT_WIRE_HOOK) {
		end->said = true;
		memcpy(end->text, HOOK_REFUSED, sizeof(HOOK_REFUSED));
	}
	if (!ckpt_context_save(&s->leader->regs)) {
		be_dumpable(s, true);
		if (ckpt_serve_hello(fd, excuse, value) && excuse == CKPT_WIRE_PARKED)
			ckpt_serve(fd, end);
		be_dumpable(s, false);
		ckpt_sys(SYS_close, fd);
	} else {
		end->said = true;
		end->outcome = CKPT_WIRE_RESTORED;
		ckpt_wrap_restored();
	}
	if (hooks)
		ckpt_run_hooks(end->outcome == CKPT_WIRE_RESTORED ? CKPT_HOOK_RESTORED :
								    CKPT_HOOK_AFTER);
	if (end->said)
		ckpt_now_ended(end);
}

static void lead(struct ckpt_session *s, uint64_t token)
{
	struct ckpt_end end = { .outcome = CKPT_WIRE_FAILED };

	/* Otherwise they go on, and the requester finds out who did not come. */
	if (wait_for_all(s)) {
		int fd = ckpt_connect(token);

		if (fd >= 0)
			checkpoint(s, fd, &end);
	}
	if (end.said)
		s->spent = token;
	ckpt_release(s);
	ckpt_lock(&s->lock);
	s->leader = NULL;
	ckpt_unlock(&s->lock);
}

/* ---- the handler ---- */

/* Every one of them is a call that changes nothing. */
static void answer_questions(struct ckpt_parked *me, pid_t asker)
{
	static const struct ckpt_wire_question questions[] = { CKPT_WIRE_QUESTIONS };

	for (size_t i = 0; i < CKPT_WIRE_N_QUESTIONS; i++) {
		uint64_t arg[2] = { questions[i].arg, questions[i].second };

		memset(me->answer[i].buf, 0, sizeof(me->answer[i].buf));
		if (questions[i].buf_arg >= 0)
			arg[questions[i].buf_arg] = (uintptr_t)me->answer[i].buf;
		else
			memcpy(me->answer[i].buf, &asker, sizeof(asker));
		arg[0] = arg[0] == CKPT_WIRE_ASKER ? (uint64_t)asker : arg[0];
		me->answer[i].ret = ckpt_sys(questions[i].nr, arg[0], arg[1]);
	}
}

/* Looked at first of all: whoever waits for memory in the handler has slept once more. */
struct arrival {
	uint64_t came, switches;
	struct ckpt_again again; /* what is done at the end */
};

static void arrive(struct arrival *arrival)
{
	struct rusage usage = { 0 };

	ckpt_sys(SYS_getrusage, RUSAGE_THREAD, &usage);
	arrival->switches = usage.ru_nvcsw;
	arrival->came = ckpt_now_ns();
}

static void init(struct ckpt_parked *me, ucontext_t *uc, const struct arrival *arrival, pid_t asker)
{
	me->came = arrival->came;
	me->switches = arrival->switches;
	me->tid = ckpt_sys(SYS_gettid);
	me->uc = uc;
	me->interrupted = me->cut = -1;
	me->waited = 0;
	me->led = false;
	me->rest = &rest;
	memset(&me->regs, 0, sizeof(me->regs));
	ckpt_sys(SYS_arch_prctl, ARCH_GET_FS, &me->regs.fs_base);
	ckpt_sys(SYS_arch_prctl, ARCH_GET_GS, &me->regs.gs_base);
	ckpt_wind_back(me);
	answer_questions(me, asker);
}

/* A request that came while we were here is met right away: who sent it does so once a try. */
static bool take_next(siginfo_t *info)
{
	const uint64_t set = ckpt_reserved_bit();
	static const struct timespec now;

	return ckpt_sys(SYS_rt_sigtimedwait, &set, info, &now, 8) > 0;
}

/* Gives back the memory that is no longer used, all but two pages. */
static void shrink_stack(const struct ckpt_parked *me)
{
	uintptr_t base = (uintptr_t)ckpt_stacks, here = (uintptr_t)me & ~4095ul;

	if (here - base >= (uintptr_t)CKPT_N_STACKS * CKPT_STACK)
		return;
	base += (here - base) / CKPT_STACK * CKPT_STACK;
	if (here > base + 4096)
		ckpt_sys(SYS_madvise, base, here - 4096 - base, MADV_DONTNEED);
}

static void visit(struct ckpt_session *s, struct ckpt_parked *me, uint64_t token)
{
	enum ckpt_role role;

	me->order = CKPT_WAIT;
	me->others = 0;
	if (ckpt_context_save(&me->regs))
		role = CKPT_PARKED;
	else
		role = ckpt_enter(s, me, token != s->spent && ckpt_token_is_fresh(token));
	me->led |= role == CKPT_LEADER;
	if (role == CKPT_LEADER)
		lead(s, token);
	else if (role == CKPT_PARKED)
		ckpt_park(s, me);
}

static void come(siginfo_t *info, void *uc, struct arrival *arrival)
{
	struct ckpt_session *s = ckpt_session;
	struct ckpt_parked me;

	if (ckpt_vdso_has(uc)) {
		if (info->si_code != SI_QUEUE)
			ckpt_now_plain();
		/* The signal is used up: who leads, or will lead, has to know. */
		else if (!ckpt_vdso_leave(uc, (uintptr_t)info->si_value.sival_ptr))
			ckpt_ask_again(s);
		return;
	}
	init(&me, uc, arrival, info->si_code == SI_QUEUE ? info->si_pid : 0);
	if (info->si_code == SI_QUEUE)
		ckpt_wind_back_sleep(&me, info);
	for (int i = 0; i < REQUESTS_MAX; i++) {
		if (info->si_code == SI_QUEUE)
			visit(s, &me, (uintptr_t)info->si_value.sival_ptr);
		else
			ckpt_now_plain();
		if (!take_next(info))
			break;
	}
	if (me.led)
		shrink_stack(&me);
	/* What comes after this look is too late: nothing else stands behind it. */
	ckpt_wind_back_end(&me, &arrival->again);
}

/* call_on(top, function, first, second, third) */
__asm__(".text\n"
	".type call_on, @function\n"
	"call_on:\n"
	"	push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	mov %rdi, %rsp\n"
	"	mov %rsi, %rax\n"
	"	mov %rdx, %rdi\n"
	"	mov %rcx, %rsi\n"
	"	mov %r8, %rdx\n"
	"	call *%rax\n"
	"	mov %rbp, %rsp\n"
	"	pop %rbp\n"
	"	ret\n"
	".size call_on, . - call_on\n");
void call_on(void *top, void (*function)(siginfo_t *, void *, struct arrival *), siginfo_t *info,
	     void *uc, struct arrival *arrival);

int ckpt_stack_take(struct ckpt_session *s)
{
	unsigned int first = ckpt_sys(SYS_gettid);

	for (unsigned int i = 0; ckpt_stacks && i < CKPT_N_STACKS; i++) {
		unsigned int at = (first + i) % CKPT_N_STACKS;

		if (!__atomic_exchange_n(&s->stack_used[at], true, __ATOMIC_ACQUIRE))
			return at;
	}
	return -1;
}

void ckpt_stack_give_back(struct ckpt_session *s, int i)
{
	__atomic_store_n(&s->stack_used[i], false, __ATOMIC_RELEASE);
}

static bool is_parents_memory(pid_t pid)
{
	return ckpt_sys(SYS_kcmp, pid, ckpt_sys(SYS_getppid), KCMP_VM) == 0;
}

/* Of the stack on which the signal met the thread, which may be small, next to nothing is used. */
void ckpt_on_signal(int sig, siginfo_t *info, void *uc)
{
	struct ckpt_session *s = ckpt_session;
	pid_t pid = ckpt_sys(SYS_getpid);
	struct arrival arrival = { .again = { .sort = CKPT_AGAIN_NOT } };
	int i;

	(void)sig;
	arrive(&arrival);
	ckpt_child_look();
	/* A child of vfork(2) works in our memory, where it has nothing to say. */
	if (!s->pid && !is_parents_memory(pid))
		s->pid = pid; /* a fork's child */
	if (s->pid != pid)
		return;
	i = ckpt_stack_take(s);
	if (i < 0) {
		come(info, uc, &arrival);
	} else {
		call_on(ckpt_stack_top(i), come, info, uc, &arrival);
		ckpt_stack_give_back(s, i);
	}
	if (arrival.again.sort != CKPT_AGAIN_NOT)
		ckpt_again_run(&arrival.again, uc);
}
