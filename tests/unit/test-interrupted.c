/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that a freeze interrupts: made again with what is left of their time, woken by
 * signals as before. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/interrupted.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "tests/lib/frozen.h"

/* ---- interrupted calls ---- */

struct timed {
	const char *name;
	void (*run)(void);
	long nr;
	int arg;
	bool in_register;
	bool kept; /* what is left of its time, by the kernel */
};

static void sleep10(void)
{
	syscall(SYS_nanosleep, &(struct timespec){ 10, 0 }, NULL);
}

static void sleep10_rest(void)
{
	struct timespec left;

	syscall(SYS_nanosleep, &(struct timespec){ 10, 0 }, &left);
}

static void clock10(void)
{
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){ 10, 0 }, NULL);
}

static void poll10(void)
{
	poll(NULL, 0, 10000);
}

static void epoll10(void)
{
	struct epoll_event ev;

	epoll_wait(epoll_create1(0), &ev, 1, 10000);
}

static void futex10(void)
{
	static int word;

	syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){ 10, 0 });
}

static void sigtimedwait10(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigtimedwait(&set, NULL, &(struct timespec){ 10, 0 });
}

static void select10(void)
{
	pselect(0, NULL, NULL, NULL, &(struct timespec){ 10, 0 }, NULL);
}

static double seconds(const struct timed *t, pid_t pid, const struct user_regs_struct *regs)
{
	uint64_t arg[6];
	struct timespec spec;
	struct iovec range;

	ckpt_interrupted_args(regs, arg);
	if (t->in_register)
		return arg[t->arg] / 1000.0;
	range = (struct iovec){ (void *)arg[t->arg], sizeof(spec) };
	return frozen.src->ops->read_mem(frozen.src, pid, &range, 1, &spec, &frozen.err) < 0 ?
		       -1 :
		       spec.tv_sec + spec.tv_nsec / 1e9;
}

/* What is left of ten seconds since STARTED has to fit to a stop somewhen during the freeze; SLACK:
 * how much more may. */
static void test_again(const struct timed *t, pid_t pid, uint64_t started, double slack,
		       const char *how)
{
	uint64_t before = ckpt_now_ns();
	struct ckpt_regs regs;
	bool ok = freeze_tree(pid);
	double most = 10.5 - (before - started) / 1e9 + slack,
	       least = 9.95 - (ckpt_now_ns() - started) / 1e9, left = -2;
	char name[200];

	if (ok && !frozen.src->ops->regs(frozen.src, pid, frozen.arena, &regs, &frozen.err) &&
	    (long)regs.gp.rax == t->nr)
		left = seconds(t, pid, &regs.gp);
	if (ok)
		let_go();
	snprintf(name, sizeof(name),
		 "%s%s is made again with what is left of its time (%.3f s of %.3f to %.3f)",
		 t->name, how, left, least, most);
	report(left >= least && left <= most, name);
}

/* As when a stop comes where the kernel is about to go on by restart_syscall(2). */
static void stop_before_restart(pid_t pid, long nr)
{
	struct user_regs_struct regs;
	bool ok = !ptrace(PTRACE_SEIZE, pid, 0, 0) && !ptrace(PTRACE_INTERRUPT, pid, 0, 0) &&
		  waitpid(pid, NULL, 0) == pid && !ptrace(PTRACE_GETREGS, pid, 0, &regs);

	regs.rax = SYS_restart_syscall;
	regs.rip -= 2;
	/* Back in the program already, but where nothing else would tell which call it was. */
	if (nr != SYS_futex)
		regs.orig_rax = -1;
	ok = ok && !ptrace(PTRACE_SETREGS, pid, 0, &regs) && !kill(pid, SIGSTOP) &&
	     !ptrace(PTRACE_DETACH, pid, 0, 0) && wait_state(pid, 'T');
	report(ok, "it is stopped where the kernel goes on");
}

static void test_timed_call(const struct timed *t, pid_t pid, uint64_t started)
{
	test_again(t, pid, started, 0, "");
	usleep(100000);
	/* Restarted by the kernel it is another call, and how much time is left nobody tells: not
	 * more than all of it. */
	test_again(t, pid, started, 10, ", stopped once more,");
	report(wait_state(pid, 'S'), "and goes on");
	if (t->kept) {
		stop_before_restart(pid, t->nr);
		test_again(t, pid, started, 10, ", stopped once more in between,");
		kill(pid, SIGCONT);
		report(wait_state(pid, 'S'), "and goes on");
	}
	end_process(pid);
}

static void test_timed(void)
{
	static const struct timed calls[] = {
		{ "nanosleep", sleep10, SYS_nanosleep, 0, false, true },
		{ "nanosleep with a rest", sleep10_rest, SYS_nanosleep, 0, false, true },
		{ "clock_nanosleep", clock10, SYS_clock_nanosleep, 2, false, true },
		{ "poll", poll10, SYS_poll, 2, true, true },
		{ "epoll_wait", epoll10, SYS_epoll_wait, 3, true, false },
		{ "futex", futex10, SYS_futex, 3, false, true },
		{ "sigtimedwait", sigtimedwait10, SYS_rt_sigtimedwait, 2, false, false },
		{ "pselect", select10, SYS_pselect6, 4, false, false },
	};
	enum { N = sizeof(calls) / sizeof(calls[0]) };
	uint64_t started[N];
	pid_t pid[N];

	for (int i = 0; i < N; i++) {
		started[i] = ckpt_now_ns();
		pid[i] = spawn(calls[i].run);
	}
	usleep(1200000);
	for (int i = 0; i < N; i++)
		test_timed_call(&calls[i], pid[i], started[i]);
}

/* ---- a freeze that fails ---- */

#define LIMIT_MS 1500

static void in_epoll_wait(bool precise)
{
	struct epoll_event ev;
	uint64_t started = ckpt_now_ns();
	int e = epoll_create1(0);
	struct timespec limit = { LIMIT_MS / 1000, LIMIT_MS % 1000 * 1000000 };

	if (precise)
		syscall(441 /* epoll_pwait2, Linux 5.11 */, e, &ev, 1, &limit, NULL, 8);
	else
		epoll_wait(e, &ev, 1, LIMIT_MS);
	frozen.page->pid[1 + precise] = (ckpt_now_ns() - started) / 1000000;
	__atomic_add_fetch(&frozen.page->count, 1, __ATOMIC_SEQ_CST);
	pause();
}

/* One of three children cannot be stopped. */
static void three_children(void)
{
	for (int i = 0; i < 3; i++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (i < 2)
			in_epoll_wait(i);
		else if (!vfork())
			for (;;) {
				frozen.page->pid[0] = syscall(SYS_getpid);
				syscall(SYS_pause);
			}
		_exit(0);
	}
	pause();
}

static void test_failed_freeze(void)
{
	pid_t pid = spawn(three_children);
	bool refused, in_time = true;
	uint64_t since;
	int stood;

	usleep(1000000);
	since = ckpt_now_ns();
	refused = !freeze_tree(pid);
	stood = (ckpt_now_ns() - since) / 1000000;
	report(refused && wait_count(2), "a freeze fails beside calls with a time limit");
	for (int i = 1; i < 3; i++) {
		in_time &= frozen.page->pid[i] >= LIMIT_MS - 1 &&
			   frozen.page->pid[i] <= LIMIT_MS + stood + 600;
		printf("# %d ms of %d, standing still for %d\n", frozen.page->pid[i], LIMIT_MS,
		       stood);
	}
	report(in_time, "they go on with what is left of their time");
	if (frozen.page->pid[0] > 0)
		kill(frozen.page->pid[0], SIGKILL);
	end_process(pid);
}

/* ---- signals ---- */

static void on_signal(int sig)
{
	frozen.page->other += sig == SIGUSR1;
}

static void catch (void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
}

static void pause_loop(void)
{
	catch ();
	for (;;) {
		frozen.page->count++;
		pause();
	}
}

static void suspend_loop(void)
{
	sigset_t usr1, none;

	catch ();
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sigfillset(&none);
	sigdelset(&none, SIGUSR1);
	for (;;) {
		frozen.page->count++;
		sigsuspend(&none);
	}
}

static void epoll_loop(void)
{
	int e = epoll_create1(0);
	struct epoll_event ev;

	catch ();
	for (;;) {
		frozen.page->count++;
		epoll_wait(e, &ev, 1, -1);
	}
}

/* SIGUSR1 while it is frozen must wake it up. SIGUSR2 must not where it is blocked as long as the
 * call waits. */
static void test_signal(const char *what, void (*run)(void), bool usr2_wakes)
{
	pid_t pid = spawn(run);
	uint64_t before;
	char name[100];
	bool ok;

	wait_count(1);
	usleep(20000);
	ok = freeze_tree(pid) && call_something(pid);
	let_go();
	usleep(20000);
	snprintf(name, sizeof(name), "%s is not woken by a freeze", what);
	report(ok && frozen.page->count == 1 && state_of(pid) == 'S', name);

	ok = freeze_tree(pid) && call_something(pid) && !kill(pid, SIGUSR1) && call_something(pid);
	let_go();
	snprintf(name, sizeof(name), "%s is woken by a signal during a freeze", what);
	report(ok && wait_count(2) && frozen.page->other == 1, name);

	usleep(20000);
	before = frozen.page->count;
	ok = freeze_tree(pid) && call_something(pid) && !kill(pid, SIGUSR2);
	let_go();
	usleep(20000);
	snprintf(name, sizeof(name), "%s is %swoken by a signal that it lets in %s", what,
		 usr2_wakes ? "" : "not ", usr2_wakes ? "as well" : "only otherwise");
	report(ok && frozen.page->count == before + usr2_wakes && frozen.page->other == 1, name);
	end_process(pid);
}

/* A queued signal must come to the copy with the call interrupted, else it would wait forever. */
static void test_signal_elsewhere(void)
{
	pid_t pid = spawn(pause_loop);
	struct ckpt_regs regs;
	siginfo_t info;
	bool ok;

	wait_count(1);
	usleep(10000);
	ok = freeze_tree(pid) && !kill(pid, SIGUSR1) &&
	     frozen.src->ops->peek_signal(frozen.src, pid, true, 0, &info, &frozen.err) == 1 &&
	     info.si_signo == SIGUSR1 && info.si_pid == getpid() &&
	     !frozen.src->ops->peek_signal(frozen.src, pid, true, 1, &info, &frozen.err) &&
	     !frozen.src->ops->peek_signal(frozen.src, pid, false, 0, &info, &frozen.err) &&
	     !frozen.src->ops->regs(frozen.src, pid, frozen.arena, &regs, &frozen.err);
	report(ok && (long)regs.gp.rax == -EINTR,
	       "a call that a pending signal interrupts is not made again elsewhere");
	let_go();
	end_process(pid);
}

static void test_stopped(void)
{
	pid_t pid = spawn(pause_loop);
	int status;
	bool ok;

	wait_count(1);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	ok = freeze_tree(pid) && frozen.task[0].stopped && call_something(pid) &&
	     call_something(pid);
	let_go();
	report(ok && wait_state(pid, 'T') && !waitpid(pid, &status, WUNTRACED | WNOHANG),
	       "calls by a stopped process leave it stopped");
	ok = freeze_tree(pid) && call_something(pid) && !kill(pid, SIGCONT) && call_something(pid);
	let_go();
	report(ok && wait_state(pid, 'S'), "SIGCONT during the freeze takes effect");
	ok = freeze_tree(pid) && !kill(pid, SIGSTOP) && call_something(pid);
	let_go();
	report(ok && wait_state(pid, 'T'), "so does SIGSTOP");
	ok = freeze_tree(pid) && !kill(pid, SIGKILL) && !call_something(pid) &&
	     frozen.err.number == CKPT_E_VANISHED;
	let_go();
	report(ok && gone(pid), "so does SIGKILL, and that is told");
	end_process(pid);
}

int main(void)
{
	test_timed();
	test_failed_freeze();
	test_signal("pause", pause_loop, true);
	test_signal("sigsuspend", suspend_loop, false);
	test_signal("epoll_wait", epoll_loop, true);
	test_signal_elsewhere();
	test_stopped();
	return report_end();
}
