/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a program: takes the reserved signal, and the memory that a checkpoint will need. If
 * anything is missing the program runs as if the library were not there. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"
#include "libinproc/wrap.h"

#ifndef PR_SET_VMA /* Linux 5.17 */
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

CKPT_EARLY struct ckpt_config ckpt_config;
CKPT_EARLY struct ckpt_session *ckpt_session;
CKPT_EARLY char *ckpt_stacks;

/* A fork finds it cleared, whoever made it and however. */
static struct ckpt_session *make_session(void)
{
	void *at = mmap(NULL, sizeof(struct ckpt_session), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	if (madvise(at, sizeof(struct ckpt_session), MADV_WIPEONFORK) < 0) {
		munmap(at, sizeof(struct ckpt_session));
		return NULL;
	}
	ckpt_sys(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, sizeof(struct ckpt_session),
		 "ckpt");
	return at;
}

/* Not before they are used do they need memory. */
static char *make_stacks(void)
{
	void *at = mmap(NULL, (size_t)CKPT_N_STACKS * CKPT_STACK, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, (size_t)CKPT_N_STACKS * CKPT_STACK, MADV_NOHUGEPAGE);
	ckpt_sys(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, at,
		 (size_t)CKPT_N_STACKS * CKPT_STACK, "ckpt stacks");
	return at;
}

/* The kernel makes the table of descriptors large enough for ours now, while there is one thread:
 * with more it waits for all processors to notice, some 10 ms of the first checkpoint. */
static void make_fd_room(void)
{
	int fd = ckpt_sys(SYS_open, "/", O_PATH | O_CLOEXEC);
	int top = fd < 0 ? fd : ckpt_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, CKPT_LOWEST_FD);

	if (top >= 0)
		ckpt_sys(SYS_close, top);
	if (fd >= 0)
		ckpt_sys(SYS_close, fd);
}

static int wanted_signal(void)
{
	const char *text = getenv("CKPT_SIGNAL");
	int sig = text ? atoi(text) : 0;

	/* Neither one that cannot be caught or that a fault makes, nor those of libc itself. */
	return sig > 0 && sig <= 64 && sig != SIGKILL && sig != SIGSTOP && sig != SIGSEGV &&
			       sig != SIGBUS && sig != SIGFPE && sig != SIGILL && sig != SIGTRAP &&
			       sig != 32 && sig != 33 ?
		       sig :
		       0;
}

static bool take_signal(int sig)
{
	uint64_t bit = 1ull << (sig - 1);

	/* The program before us in this process may have blocked it for the exec. */
	return ckpt_take_signal(sig, ckpt_is_caught(SIGCHLD)) &&
	       ckpt_sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, 8) >= 0;
}

extern char **environ;

__attribute__((constructor(101))) static void start(void)
{
	int sig = wanted_signal();

	if (!sig)
		return;
	ckpt_session = make_session();
	if (!ckpt_session)
		return;
	ckpt_session->pid = ckpt_sys(SYS_getpid);
	ckpt_stacks = make_stacks();
	make_fd_room();
	ckpt_vdso_init(getauxval(AT_SYSINFO_EHDR));
	ckpt_wrap_init(environ);
	pthread_atfork(ckpt_track_fork_begin, ckpt_track_fork_end, NULL);
	ckpt_config.signal = sig;
	ckpt_config.on = take_signal(sig);
}
