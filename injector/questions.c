/* SPDX-License-Identifier: Apache-2.0 */
/* What threads are asked: which calls change nothing, and those that are asked before anything has
 * been learned. A kind that asks every process or thread something else adds it here. */
#include <linux/keyctl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include "engine/base/arch/x86-64.h"
#include "injector/questions.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3 */
#endif
#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68 /* Linux 6.4 */
#endif
#define PR_FUTEX_HASH 78 /* Linux 6.16 */
#define FUTEX_HASH_GET_SLOTS 2
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define ARCH_GET_CPUID 0x1011 /* Linux 4.12 */
#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_GET_XCOMP_PERM 0x1022
#define MEMBARRIER_QUERY 0
#define MEMBARRIER_GET (1 << 9) /* Linux 6.3 */
#define PERSONALITY_QUERY 0xffffffff
#define THREAD_KEYRING ((uint32_t)KEY_SPEC_THREAD_KEYRING)
#define PROCESS_KEYRING ((uint32_t)KEY_SPEC_PROCESS_KEYRING)

/* Of the first leader and the first thread nothing has been learned yet. A question that is not
 * asked after all costs less than a microsecond. */
const struct ckpt_call ckpt_first_questions[] = {
	/* of each thread */
	{ SYS_prctl, { PR_GET_SECUREBITS }, -1, NULL, 0, 0 },
	{ SYS_keyctl, { KEYCTL_GET_KEYRING_ID, THREAD_KEYRING }, -1, NULL, 0, 0 },
	{ SYS_get_mempolicy, { 0 }, 0, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_TIMERSLACK }, -1, NULL, 0, 0 },
	{ SYS_sigaltstack, { 0 }, 1, NULL, 24, 0 },
	{ SYS_personality, { PERSONALITY_QUERY }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_PDEATHSIG }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_TSC }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_MCE_KILL_GET }, -1, NULL, 0, 0 },
	{ SYS_arch_prctl, { ARCH_GET_CPUID }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_IO_FLUSHER }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_TID_ADDRESS }, 1, NULL, 8, 0 },
	/* of each leader besides */
	{ SYS_brk, { 0 }, -1, NULL, 0, 0 },
	{ SYS_getitimer, { ITIMER_REAL }, 1, NULL, 32, 0 },
	{ SYS_getitimer, { ITIMER_VIRTUAL }, 1, NULL, 32, 0 },
	{ SYS_getitimer, { ITIMER_PROF }, 1, NULL, 32, 0 },
	{ SYS_prctl, { PR_GET_DUMPABLE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_CHILD_SUBREAPER }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_THP_DISABLE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_MDWE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_MEMORY_MERGE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_FUTEX_HASH, FUTEX_HASH_GET_SLOTS }, -1, NULL, 0, 0 },
	{ SYS_arch_prctl, { ARCH_GET_XCOMP_PERM }, 1, NULL, 8, 0 },
	{ SYS_membarrier, { MEMBARRIER_GET }, -1, NULL, 0, 0 },
	{ SYS_modify_ldt, { 0, 0, 8 }, 1, NULL, 8, 0 },
	{ SYS_keyctl, { KEYCTL_GET_KEYRING_ID, PROCESS_KEYRING }, -1, NULL, 0, 0 },
	{ SYS_rt_sigaction, { SIGCHLD, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGHUP, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGINT, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGQUIT, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGPIPE, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGTERM, 0, 0, 8 }, 2, NULL, 32, 0 },
};

const size_t ckpt_n_first_questions =
	sizeof(ckpt_first_questions) / sizeof(ckpt_first_questions[0]);

/* Whether what a process maps from now on is locked (engine/capture/future-locks.c): a page that it
 * maps, and that is gone at the end of the chain. For itself: while they run, somebody must not be
 * looking at its areas. */
const struct ckpt_call ckpt_page_questions[CKPT_N_PAGE_QUESTIONS] = {
	{ SYS_mmap,
	  { 0, CKPT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS },
	  -1,
	  NULL,
	  0,
	  0 },
	{ SYS_msync, { 0, CKPT_PAGE, MS_INVALIDATE }, -1, NULL, 0, 0 },
	{ SYS_mincore, { 0, CKPT_PAGE }, 2, NULL, 1, 0 },
	{ SYS_munmap, { 0, CKPT_PAGE }, -1, NULL, 0, 0 },
};

bool ckpt_wants_page(const struct ckpt_call *call)
{
	return call->nr == SYS_mmap;
}

static bool prctl_asks(uint64_t option)
{
	static const uint8_t options[] = {
		PR_GET_PDEATHSIG,    PR_GET_DUMPABLE,
		PR_GET_KEEPCAPS,     PR_GET_TIMING,
		PR_GET_NAME,         PR_GET_TSC,
		PR_GET_SECUREBITS,   PR_GET_TIMERSLACK,
		PR_MCE_KILL_GET,     PR_GET_CHILD_SUBREAPER,
		PR_GET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS,
		PR_GET_THP_DISABLE,  PR_GET_SPECULATION_CTRL,
		PR_GET_IO_FLUSHER,   PR_GET_MDWE,
		PR_GET_MEMORY_MERGE,
	};

	return memchr(options, option, sizeof(options)) && option < 256;
}

/* Calls that change nothing, whoever makes them: some are made that nobody will want to know of
 * this thread. */
bool ckpt_only_asks(const struct ckpt_call *call)
{
	switch (call->nr) {
	case SYS_prctl:
		return prctl_asks(call->arg[0]) ||
		       (call->arg[0] == PR_FUTEX_HASH && call->arg[1] == FUTEX_HASH_GET_SLOTS);
	case SYS_arch_prctl:
		return call->arg[0] == ARCH_GET_FS || call->arg[0] == ARCH_GET_GS ||
		       call->arg[0] == ARCH_GET_CPUID || call->arg[0] == ARCH_GET_XCOMP_SUPP ||
		       call->arg[0] == ARCH_GET_XCOMP_PERM;
	case SYS_sigaltstack:
		return !call->arg[0] && call->buf_arg == 1;
	case SYS_rt_sigaction:
		return !call->arg[1] && call->buf_arg == 2;
	case SYS_personality:
		return call->arg[0] == PERSONALITY_QUERY;
	case SYS_brk:
		return !call->arg[0];
	case SYS_membarrier:
		return call->arg[0] == MEMBARRIER_QUERY || call->arg[0] == MEMBARRIER_GET;
	case SYS_modify_ldt:
		return !call->arg[0];
	case SYS_keyctl: /* those two, and never to be made: asking for a session's makes one */
		return call->arg[0] == KEYCTL_GET_KEYRING_ID && !call->arg[2] &&
		       (call->arg[1] == THREAD_KEYRING || call->arg[1] == PROCESS_KEYRING);
	case SYS_get_mempolicy:
	case SYS_getitimer:
	case SYS_timer_gettime:
	case SYS_timer_getoverrun:
	case SYS_get_robust_list:
	case SYS_gettid:
	case SYS_getpid:
	case SYS_getppid:
		return true;
	default:
		return false;
	}
}
