/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: starts or restores the program, takes checkpoints, passes signals on, ends as the
 * program ends. It is no more than a parent: it shares group and terminal with the program, and if
 * it is killed the program goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "tools/arguments.h"
#include "tools/run-supervise.h"

static const int passed_on[] = { SIGHUP,  SIGINT,   SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGALRM,
				 SIGCONT, SIGWINCH, SIGTSTP, SIGXCPU, SIGURG,  SIGPWR,  SIGIO };

/* ---- signals ---- */

static int open_signals(struct ckpt_supervisor *r, struct ckpt_err *err)
{
	sigset_t set = r->o->on;

	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		/* Blocked ones come even if they are ignored (nohup): that is for the program to
		 * decide. */
		sigaddset(&set, passed_on[i]);
	sigprocmask(SIG_BLOCK, &set, &r->old_mask);
	sigaction(SIGCHLD, NULL, &r->old_chld);
	signal(SIGCHLD, SIG_DFL);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signals < 0 ? ckpt_fail(err, -errno, "cannot wait for signals") : 0;
}

static void send_on(const struct ckpt_supervisor *r, int sig)
{
	if (r->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->pidfd, sig, NULL, 0);
}

/* The shell is to see that its job has stopped; when we go on we get SIGCONT, which is passed on.
 */
static void stop_too(void)
{
	kill(getpid(), SIGSTOP);
}

/* A restored program is not our child: nobody tells us that it has stopped. */
static void stop_with_restored(const struct ckpt_supervisor *r)
{
	const struct timespec pause = { 0, 10000000 };

	for (int i = 0; i < 50 && r->news >= 0; i++) {
		if (ckpt_run_state(r->program) == 'T') {
			stop_too();
			return;
		}
		nanosleep(&pause, NULL);
	}
}

static void on_signal(struct ckpt_supervisor *r, int sig, bool to_us_alone)
{
	if (sigismember(&r->o->on, sig) > 0) {
		if (!r->last)
			r->last = sig;
		return;
	}
	if (to_us_alone)
		send_on(r, sig);
	if (sig == SIGTSTP)
		stop_with_restored(r);
}

static void take_signals(struct ckpt_supervisor *r)
{
	struct signalfd_siginfo si;

	/* Nobody is there yet to pass them on to: they stay pending. */
	if (r->pidfd < 0 && !r->ended)
		return;
	while (read(r->signals, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			on_signal(r, si.ssi_signo, si.ssi_code <= 0); /* by kill(2): SI_USER, ... */
}

/* ---- the program ---- */

/* Without a terminal the program gets a group of its own where a signal means a last checkpoint:
 * batch systems send it to the whole group, and it must not end the program before. */
static bool wants_group(const struct ckpt_supervisor *r)
{
	int tty = r->o->any_on ? open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC) : 0;

	if (tty > 0)
		close(tty);
	return tty < 0;
}

static void has_started(struct ckpt_supervisor *r, pid_t pid)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	r->program = pid;
	r->pidfd = syscall(SYS_pidfd_open, pid, 0);
	r->next = ckpt_now_ns() + r->o->interval_ns;
	if (ckpt_run_owner(r->g, pid, &err) < 0)
		ckpt_run_say_err(&err);
}

static int start(struct ckpt_supervisor *r, struct ckpt_err *err)
{
	bool own_group = wants_group(r);
	char number[16];
	pid_t pid = fork();

	if (pid < 0)
		return ckpt_fail(err, -errno, "cannot fork");
	if (!pid) {
		if (own_group)
			setpgid(0, 0);
		snprintf(number, sizeof(number), "%d", getpid());
		setenv("CKPT_ROOT", number, 1);
		sigaction(SIGCHLD, &r->old_chld, NULL);
		sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
		_exit(ckpt_run_exec(r->o));
	}
	r->child = pid;
	has_started(r, pid);
	return 0;
}

static void on_news(struct ckpt_supervisor *r)
{
	struct ckpt_run_news news;
	struct ckpt_err err = CKPT_ERR_INIT;
	ssize_t n = read(r->news, &news, sizeof(news));

	if (n < 0)
		return;
	if (n == sizeof(news) && news.what == CKPT_RUN_STARTED) {
		has_started(r, news.program);
		return;
	}
	close(r->news);
	r->news = -1;
	if (n == sizeof(news) && news.what == CKPT_RUN_NONE) {
		if (start(r, &err) < 0)
			r->failed = ckpt_run_say_err(&err);
	} else if (n == sizeof(news) && news.what == CKPT_RUN_ENDED) {
		r->ended = true;
		r->status = news.status;
	} else {
		if (n != sizeof(news))
			ckpt_run_say("the restore ended without a report");
		r->failed = n == sizeof(news) ? news.status : 1;
	}
}

static void reap(struct ckpt_supervisor *r)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid == r->child && WIFSTOPPED(status)) {
			int sig = WSTOPSIG(status);

			/* SIGSTOP is somebody's who will continue it, and knows nothing of us. */
			if (sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
				stop_too();
		} else if (WIFSTOPPED(status)) {
			continue;
		} else if (pid == r->child) {
			r->ended = true;
			r->status = status;
		} else if (pid == r->checkpointer) {
			ckpt_run_taken(r, status);
		}
	}
}

/* ---- the end ---- */

static int end_like(int status)
{
	static const struct rlimit no_core;
	int sig = WTERMSIG(status);
	sigset_t set;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	/* The program's own core file, if any, is there already. */
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 128 + sig;
}

/* The folder is free from now on, also as long as processes end that have inherited the lock. */
static int leave(const struct ckpt_supervisor *r, int status)
{
	flock(r->lock, LOCK_UN);
	return status;
}

static int finish(struct ckpt_supervisor *r)
{
	unsigned int *number;
	char name[24];
	size_t n;

	if (r->last && r->taken_last)
		return leave(r, CKPT_RUN_AGAIN);
	if (WIFEXITED(r->status) && !WEXITSTATUS(r->status)) {
		ckpt_generations_remove_all(r->g);
		ckpt_run_forget_cut(r->g);
		unlinkat(r->g->fd, "program", 0);
		return leave(r, 0);
	}
	n = ckpt_generations_list(r->g, &number);
	if (n && WIFSIGNALED(r->status))
		ckpt_run_say("the program was ended by %s; %zu checkpoint%s of it stay%s in %s",
			     ckpt_signal_name(name, WTERMSIG(r->status)), n, n == 1 ? "" : "s",
			     n == 1 ? "s" : "", r->g->path);
	else if (n)
		ckpt_run_say(
			"the program ended with status %d; %zu checkpoint%s of it stay%s in %s",
			WEXITSTATUS(r->status), n, n == 1 ? "" : "s", n == 1 ? "s" : "",
			r->g->path);
	return end_like(leave(r, r->status));
}

static void wait_for_something(struct ckpt_supervisor *r)
{
	struct pollfd fd[2] = { { r->signals, POLLIN, 0 }, { r->news, POLLIN, 0 } };
	uint64_t now = ckpt_now_ns();
	struct timespec limit = { 0 }, *limitp = NULL;

	/* What is pending until there is a program must not wake us again and again. */
	if (r->pidfd < 0)
		fd[0].fd = -1;
	if (r->o->interval_ns && r->pidfd >= 0 && !r->ended) {
		if (r->next > now) {
			limit.tv_sec = (r->next - now) / 1000000000;
			limit.tv_nsec = (r->next - now) % 1000000000;
		}
		limitp = &limit;
	}
	ppoll(fd, 2, limitp, NULL);
	if (fd[1].revents)
		on_news(r);
}

int ckpt_run_supervise(const struct ckpt_run_options *o, struct ckpt_generations *g, int lock,
		       struct ckpt_arena *arena)
{
	struct ckpt_supervisor r = { .o = o,
				     .g = g,
				     .arena = arena,
				     .lock = lock,
				     .pidfd = -1,
				     .news = -1 };
	struct ckpt_err err = CKPT_ERR_INIT;
	int n = open_signals(&r, &err);

	/* Copies that a snapshot leaves are ours to collect: pid 1 of a container may not do it. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (n >= 0)
		n = ckpt_run_open_results(&r, &err);
	if (n >= 0 && o->resume)
		n = ckpt_run_resume(g, &r.news, &err);
	else if (n >= 0)
		n = start(&r, &err);
	if (n < 0)
		return ckpt_run_say_err(&err);
	while (!r.failed && !(r.ended && !r.checkpointer)) {
		wait_for_something(&r);
		take_signals(&r);
		reap(&r);
		ckpt_run_due(&r);
	}
	return r.failed ? leave(&r, r.failed) : finish(&r);
}
