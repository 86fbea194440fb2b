/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that freeze a tree. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "tests/lib/frozen.h"

struct frozen frozen;

void report(bool ok, const char *name)
{
	char text[1200] = "";

	if (!ok && frozen.err.code)
		ckpt_err_sentence(&frozen.err, text, sizeof(text));
	printf("%sok %d - %s%s%s\n", ok ? "" : "not ", ++frozen.n_tests, name, *text ? ": " : "",
	       text);
	fflush(stdout);
	frozen.failed |= !ok;
}

bool open_source(pid_t pid, unsigned int timeout_s)
{
	struct ckpt_ptrace_opts opts = { .timeout_s = timeout_s };

	frozen.err = (struct ckpt_err)CKPT_ERR_INIT;
	return !ckpt_arena_open(&frozen.arena, 256 << 20, &frozen.err) &&
	       !ckpt_source_ptrace_open(&frozen.src, frozen.arena, pid, &opts, &frozen.err);
}

bool freeze_tree(pid_t pid)
{
	return open_source(pid, 10) &&
	       !frozen.src->ops->freeze(frozen.src, frozen.arena, &frozen.task, &frozen.n,
					&frozen.err);
}

void let_go(void)
{
	ckpt_source_close(frozen.src);
	ckpt_arena_close(frozen.arena);
	frozen.src = NULL;
}

pid_t spawn(void (*run)(void))
{
	pid_t pid;

	if (!frozen.page)
		frozen.page = mmap(NULL, sizeof(*frozen.page), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset((void *)frozen.page, 0, sizeof(*frozen.page));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(0);
	}
	return pid;
}

bool wait_count(uint64_t n)
{
	for (int i = 0; i < 5000 && frozen.page->count < n; i++)
		usleep(1000);
	return frozen.page->count >= n;
}

char state_of(pid_t pid)
{
	struct ckpt_proc_stat st = { 0 };

	return ckpt_proc_stat(pid, &st) < 0 ? '-' : st.state;
}

bool wait_state(pid_t pid, char state)
{
	for (int i = 0; i < 3000 && state_of(pid) != state; i++)
		usleep(1000);
	return state_of(pid) == state;
}

bool gone(pid_t pid)
{
	for (int i = 0; i < 3000; i++) {
		char state = state_of(pid);

		if (state == '-' || state == 'Z' || state == 'X')
			return true;
		usleep(1000);
	}
	return false;
}

void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void *rest(void *arg)
{
	frozen.page->pid[0] = syscall(SYS_gettid);
	__atomic_add_fetch(&frozen.page->count, 1, __ATOMIC_SEQ_CST); /* others do, too */
	pause();
	return arg;
}

void with_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, rest, NULL);
	for (;;)
		pause();
}

void idle(void)
{
	__atomic_add_fetch(&frozen.page->count, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

bool call_something(pid_t tid)
{
	struct ckpt_call call = { .nr = SYS_gettid, .buf_arg = -1 };

	return !frozen.src->ops->call(frozen.src, tid, &call, &frozen.err) && call.ret == tid;
}

int report_end(void)
{
	printf("1..%d\n", frozen.n_tests);
	return frozen.failed;
}
