/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits that something wakes which the program does not see: a signal that it ignores. With a
 * request at the worst moment they must go on all the same. The moments are made by ptrace.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <time.h>
#include "libinproc/wire.h"
#include "tests/lib/proc.h"
#include "tests/unit/wrap-self.h"

#define OWN_SIGNAL 64
#define MS 500
#define LATEST_MS 60000
#define LONG_S 3
#define STEP_MS (LONG_S * 400) /* beginning anew behind two of them ends one of them later */
#define RESULT_FD 3
#define TOKEN 0x1234500000001ul
#define THREAD 't'  /* there is another one, which tells its number */
#define CATCHES 'c' /* the same, and it catches SIGCHLD */

/* ---- the program ---- */

struct result {
	long ret, error, took_ms;
};

static long call_nanosleep(void)
{
	return syscall(SYS_nanosleep, &(struct timespec){ 0, MS * 1000000l }, NULL);
}

static long call_usleep(void)
{
	return usleep(MS * 1000);
}

static long call_poll(void)
{
	return poll(NULL, 0, MS);
}

static long wait_for_word(time_t seconds, long ns)
{
	static int word;
	long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){ seconds, ns },
			 NULL, 0);

	return r < 0 && errno == ETIMEDOUT ? 0 : r;
}

static long call_futex(void)
{
	return wait_for_word(0, MS * 1000000l);
}

static long call_long_futex(void)
{
	return wait_for_word(LONG_S, 0);
}

static long call_epoll(void)
{
	struct epoll_event e;

	return epoll_wait(epoll_create1(EPOLL_CLOEXEC), &e, 1, MS);
}

static const struct call {
	const char *name;
	long (*make)(void);
	long nr, ms;
} calls[] = {
	{ "nanosleep", call_nanosleep, SYS_nanosleep, MS },
	{ "usleep", call_usleep, SYS_clock_nanosleep, MS },
	{ "poll", call_poll, SYS_poll, MS },
	{ "futex", call_futex, SYS_futex, MS },
	{ "epoll_wait", call_epoll, SYS_epoll_wait, MS },
	{ "long futex", call_long_futex, SYS_futex, LONG_S * 1000 },
};
#define EPOLL (&calls[4])
#define LONG_FUTEX (&calls[5])

static void on_child(int sig)
{
	(void)sig;
}

static void *beside(void *arg)
{
	pid_t tid = syscall(SYS_gettid);

	if (write(RESULT_FD, &tid, sizeof(tid)) != sizeof(tid))
		_exit(1);
	return pause(), arg;
}

static int program(const char *arg)
{
	const struct call *call = &calls[arg[0] - '0'];
	struct result r = { 0 };
	int64_t start;
	pthread_t t;

	if (arg[1] == CATCHES)
		signal(SIGCHLD, on_child);
	if (arg[1] && pthread_create(&t, NULL, beside, NULL))
		return 1;
	start = test_now_ns();
	r.ret = call->make();
	r.error = errno;
	r.took_ms = (test_now_ns() - start) / 1000000;
	return write(RESULT_FD, &r, sizeof(r)) != sizeof(r);
}

/* ---- what is done to it ---- */

struct run {
	const struct call *call;
	pid_t pid;
	int from;
};

static struct run start(const struct call *call, char more)
{
	char arg[] = { '0' + (call - calls), more, 0 };
	struct run run = { .call = call };
	int end[2];

	library_path();
	fflush(stdout);
	if (pipe2(end, O_CLOEXEC) < 0)
		return run;
	run.from = end[0];
	run.pid = fork();
	if (run.pid == 0) {
		if (end[1] != RESULT_FD)
			dup2(end[1], RESULT_FD);
		else
			fcntl(RESULT_FD, F_SETFD, 0);
		execute_self("64", arg);
	}
	close(end[1]);
	return run;
}

static bool waits_in(pid_t pid, pid_t tid, long nr)
{
	char *path = test_text("/proc/%d/task/%d/syscall", pid, tid), *text = test_read(path, NULL);
	bool yes = text && atol(text) == nr && strncmp(text, "running", 7);

	free(text);
	free(path);
	return yes;
}

/* A request that is over: the handler does what it does, and nobody comes. The thread has waited
 * SINCE, if that is not 0. */
static bool request_since(pid_t pid, pid_t tid, int64_t since)
{
	siginfo_t info = { .si_signo = OWN_SIGNAL, .si_code = SI_QUEUE };
	char *switches = since ? test_status(pid, "voluntary_ctxt_switches") : NULL;
	struct ckpt_wire_sleep sleep = { since, TOKEN ^ (switches ? atol(switches) : 0) };

	free(switches);
	info.si_value.sival_ptr = (void *)TOKEN;
	memcpy((char *)&info + CKPT_WIRE_SLEEP_AT, &sleep, sizeof(sleep));
	return !syscall(SYS_rt_tgsigqueueinfo, pid, tid, OWN_SIGNAL, &info);
}

static bool request(pid_t pid, pid_t tid)
{
	return request_since(pid, tid, 0);
}

static bool stop(pid_t tid)
{
	return !ptrace(PTRACE_SEIZE, tid, 0, 0) && !ptrace(PTRACE_INTERRUPT, tid, 0, 0) &&
	       waitpid(tid, NULL, __WALL) == tid;
}

/* As when the kernel goes on by restart_syscall(2), and the request comes right before. */
static bool meet_restart(pid_t tid)
{
	struct user_regs_struct regs;
	bool good = stop(tid) && !ptrace(PTRACE_GETREGS, tid, 0, &regs);

	regs.rax = SYS_restart_syscall;
	regs.rip -= 2;
	regs.orig_rax = -1;
	return good && !ptrace(PTRACE_SETREGS, tid, 0, &regs) && request(tid, tid) &&
	       !ptrace(PTRACE_DETACH, tid, 0, 0);
}

/* Stays at the start of the handler. */
static bool hold_in_handler(pid_t pid, pid_t tid)
{
	return !ptrace(PTRACE_SEIZE, tid, 0, 0) && request(pid, tid) &&
	       waitpid(tid, NULL, __WALL) == tid &&
	       !ptrace(PTRACE_SINGLESTEP, tid, 0, OWN_SIGNAL) && waitpid(tid, NULL, __WALL) == tid;
}

static void end(struct run *run, bool staged, long most_ms, const char *name)
{
	struct result r = { -1, 0, 0 };
	bool told = read(run->from, &r, sizeof(r)) == sizeof(r);

	ok(staged && told && r.ret == 0 && r.took_ms >= run->call->ms - 1 && r.took_ms < most_ms,
	   "%s (staged %d, told %d: returns %ld, %s, after %ld of %ld ms)", name, staged, told,
	   r.ret, r.ret ? strerror(r.error) : "no error", r.took_ms, run->call->ms);
	kill(run->pid, SIGKILL);
	waitpid(run->pid, NULL, 0);
	close(run->from);
}

static void test_restart(const struct call *call)
{
	struct run run = start(call, 0);
	char *name = test_text("%s: the request meets it where the kernel goes on", call->name);

	end(&run, EVENTUALLY(waits_in(run.pid, run.pid, call->nr)) && meet_restart(run.pid),
	    LATEST_MS, name);
	free(name);
}

/* Each of two requests comes to nothing; the second knows no more than the first did. */
static void test_twice(void)
{
	struct run run = start(LONG_FUTEX, 0);
	bool good = EVENTUALLY(waits_in(run.pid, run.pid, LONG_FUTEX->nr));
	int64_t since = test_now_ns();

	test_sleep_ms(STEP_MS);
	good = good && request_since(run.pid, run.pid, since);
	test_sleep_ms(STEP_MS);
	good = good && request(run.pid, run.pid);
	end(&run, good, LONG_S * 1000 + STEP_MS * 9 / 10,
	    "futex: two requests, and it does not begin anew");
}

/* Waiting on, from inside the handler. */
static void test_ignored(void)
{
	struct run run = start(EPOLL, 0);

	end(&run,
	    EVENTUALLY(waits_in(run.pid, run.pid, EPOLL->nr)) && request(run.pid, run.pid) &&
		    EVENTUALLY(waits_in(run.pid, run.pid, SYS_ppoll)) && !kill(run.pid, SIGWINCH),
	    LATEST_MS, "epoll_wait: after a request a signal comes that is ignored");
}

static bool blocks(pid_t pid, int sig)
{
	char *text = test_status(pid, "SigBlk");
	bool yes = text && strtoull(text, NULL, 16) >> (sig - 1) & 1;

	free(text);
	return yes;
}

/* Blocked in the thread whose child it is SIGCHLD would wake others, though it is ignored. */
static void test_child(char more, bool is_blocked, const char *name)
{
	struct run run = start(EPOLL, more);
	pid_t tid = 0;
	bool good = read(run.from, &tid, sizeof(tid)) == sizeof(tid) &&
		    EVENTUALLY(waits_in(run.pid, tid, SYS_pause)) && hold_in_handler(run.pid, tid);

	good = good && blocks(tid, OWN_SIGNAL) && blocks(tid, SIGUSR1) &&
	       blocks(tid, SIGCHLD) == is_blocked;
	if (tid)
		ptrace(PTRACE_DETACH, tid, 0, 0);
	end(&run, good, LATEST_MS, name);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return program(argv[1]);
	for (size_t i = 0; i < ARRAY_SIZE(calls) && &calls[i] != EPOLL; i++)
		test_restart(&calls[i]);
	test_twice();
	test_ignored();
	test_child(THREAD, false, "nobody catches SIGCHLD: our handler lets it be ignored");
	test_child(CATCHES, true, "somebody catches SIGCHLD: it does not interrupt our handler");
	return tap_end();
}
