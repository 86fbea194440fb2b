/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tracer is a process of its own, forked for each run: its waitpid(-1) may not take the
 * caller's children.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/proc.h"
#include "tests/lib/step.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#define MAX_THREADS 64

struct tracer {
	struct step *s;
	pid_t pid;
	pid_t worker; /* what is followed; PID until there is another */
	bool started; /* the command has been executed: from here on it is its own calls */
	bool main;    /* and its main() is near */
	struct {
		pid_t tid;
		bool inside, failing; /* inside of a call; which is to fail */
	} thread[MAX_THREADS];
};

static int index_of(struct tracer *t, pid_t tid)
{
	for (int i = 0; i < MAX_THREADS; i++) {
		if (t->thread[i].tid == tid)
			return i;
		if (!t->thread[i].tid) {
			t->thread[i].tid = tid;
			return i;
		}
	}
	_exit(1);
}

/* Calls that are not made to fail: those that end the thread or never return to where they were
 * made; those that cannot fail (brk returns the old break instead); and those at whose failure the
 * C library aborts, since it knows that the kernel does not let them. */
static bool spared(long nr)
{
	static const short nrs[] = {
		SYS_exit,
		SYS_exit_group,
		SYS_rt_sigreturn,
		SYS_execve,
		SYS_brk,
		SYS_getpid,
		SYS_gettid,
		SYS_getppid,
		SYS_getuid,
		SYS_geteuid,
		SYS_getgid,
		SYS_getegid,
		SYS_getpgrp,
		SYS_umask,
		SYS_uname,
		SYS_clock_gettime,
		SYS_sched_yield,
		SYS_getrandom,
		SYS_futex,
		SYS_rseq,
		SYS_rt_sigaction,
		SYS_getrlimit,
		SYS_gettimeofday,
		SYS_set_tid_address,
		SYS_rt_sigprocmask,
		SYS_set_robust_list,
	};

	for (size_t i = 0; i < ARRAY_SIZE(nrs); i++)
		if (nrs[i] == nr)
			return true;
	return false;
}

static void enter(struct tracer *t, int i, pid_t tid)
{
	long nr = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user_regs_struct, orig_rax), 0);

	/* The dynamic loader is not ours to test: this is near its end. */
	t->main |= nr == SYS_set_robust_list;
	if (!t->main || spared(nr))
		return;
	t->s->n_calls++;
	/* With the ticks that end a wait. */
	t->s->n_waits += nr == SYS_wait4 || nr == SYS_waitid || nr == SYS_rt_sigreturn;
	if (t->s->n_calls != t->s->fail_at)
		return;
	t->s->hit = true;
	t->s->nr = nr;
	t->thread[i].failing = true;
	/* close(2) closes even where it fails. */
	if (nr != SYS_close)
		ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1l);
}

static void leave(struct tracer *t, int i, pid_t tid)
{
	if (t->thread[i].failing)
		ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax),
		       (long)-t->s->error);
	t->thread[i].failing = false;
}

static void at_call(struct tracer *t, pid_t tid)
{
	int i = index_of(t, tid);

	t->thread[i].inside = !t->thread[i].inside;
	if (!t->started)
		return;
	t->s->n_stops++;
	if (t->s->n_stops == t->s->kill_at) {
		t->s->hit = true;
		t->s->nr = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user_regs_struct, orig_rax),
				  0);
		kill(t->s->kill_attendant ? t->pid : t->worker, SIGKILL);
		return;
	}
	if (t->thread[i].inside)
		enter(t, i, tid);
	else
		leave(t, i, tid);
}

#define FOLLOWED (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

/* The first stop of a child, before it does anything. */
static void have_worker(struct tracer *t, pid_t tid)
{
	t->worker = tid;
	ptrace(PTRACE_SETOPTIONS, tid, 0, FOLLOWED);
}

static void on_stop(struct tracer *t, pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		at_call(t, tid);
		sig = 0;
	} else if (event) {
		t->started |= event == PTRACE_EVENT_EXEC;
		if (t->s->attended && t->started && t->worker == t->pid && tid != t->pid)
			have_worker(t, tid);
		sig = 0;
	}
	if (event == PTRACE_EVENT_FORK || (tid == t->pid && t->worker != t->pid)) {
		ptrace(PTRACE_CONT, tid, 0, (long)sig); /* all that it does now is to wait */
		return;
	}
	ptrace(t->s->hit && !t->thread[index_of(t, tid)].failing ? PTRACE_CONT : PTRACE_SYSCALL,
	       tid, 0, (long)sig);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Until the command is gone with all its threads. */
static void trace(struct tracer *t)
{
	struct sigaction sa = { .sa_handler = on_alarm }; /* interrupts waitpid() */
	struct itimerval limit = { { 1, 0 }, { t->s->timeout_ms / 1000 + 1, 0 } };
	bool has_ended[2] = { false, false };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &limit, NULL);
	while (!t->s->leaves_holder || !has_ended[0] || !has_ended[1]) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid < 0 && errno == EINTR) {
			t->s->timed_out = true;
			kill(t->pid, SIGKILL);
			continue;
		}
		if (tid < 0)
			return;
		if (WIFSTOPPED(status)) {
			on_stop(t, tid, status);
			continue;
		}
		has_ended[0] |= tid == t->pid;
		has_ended[1] |= tid == t->worker;
		if (tid == t->pid)
			t->s->status = status;
	}
}

static void be_tracer(struct step *s, char *const argv[], const char *out)
{
	struct tracer t = { .s = s };
	int go[2];
	char c;

	if (pipe2(go, O_CLOEXEC) < 0 || prctl(PR_SET_CHILD_SUBREAPER, s->attended) < 0)
		_exit(1);
	t.pid = fork();
	if (t.pid == 0) {
		int fd = open("/dev/null", O_RDONLY);

		setsid();
		dup2(fd, 0);
		fd = open(out ? out : "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0666);
		dup2(fd, 1);
		dup2(fd, 2);
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(127);
		syscall(SYS_close_range, 3u, ~0u, 4 /* CLOSE_RANGE_CLOEXEC, Linux 5.11 */);
		execv(argv[0], argv);
		_exit(127);
	}
	t.worker = t.pid;
	if (ptrace(PTRACE_SEIZE, t.pid, 0, FOLLOWED | (s->attended ? PTRACE_O_TRACEFORK : 0)) < 0 ||
	    ptrace(PTRACE_INTERRUPT, t.pid, 0, 0) < 0 || write(go[1], "g", 1) != 1) {
		kill(t.pid, SIGKILL);
		_exit(1);
	}
	trace(&t);
	_exit(0);
}

bool step_run(struct step *s, char *const argv[], const char *out)
{
	struct step *shared =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	if (shared == MAP_FAILED)
		return false;
	*shared = *s;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_tracer(shared, argv, out);
	status = test_wait(pid, s->timeout_ms + test_wait_ms());
	if (status < 0)
		kill(pid, SIGKILL);
	*s = *shared;
	munmap(shared, sizeof(*s));
	return status == 0;
}
