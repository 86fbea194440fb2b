/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a tree and letting go of it: who is in it, what is refused, what of interrupted calls, what is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "injector/interrupted.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "tests/lib/targets.h"

#define N_MAX 64

static int failed, n_tests;
static struct ckpt_err err;
static struct ckpt_arena *arena;
static struct ckpt_source *src;
static struct ckpt_frozen *frozen;
static size_t n_frozen;

static struct page {
	volatile uint64_t count, other;
	volatile pid_t pid[8];
} *page;

static void report(bool ok, const char *name)
{
	char text[1200] = "";

	if (!ok && err.code)
		ckpt_err_sentence(&err, text, sizeof(text));
	printf("%sok %d - %s%s%s\n", ok ? "" : "not ", ++n_tests, name, *text ? ": " : "", text);
	fflush(stdout);
	failed |= !ok;
}

static bool open_source(pid_t pid, unsigned int timeout_s)
{
	struct ckpt_ptrace_opts opts = { .timeout_s = timeout_s };

	err = (struct ckpt_err)CKPT_ERR_INIT;
	return !ckpt_arena_open(&arena, 256 << 20, &err) && !ckpt_source_ptrace_open(&src, arena, pid, &opts, &err);
}

static bool freeze(pid_t pid)
{
	return open_source(pid, 10) && !src->ops->freeze(src, arena, &frozen, &n_frozen, &err);
}

static void done(void)
{
	ckpt_source_ptrace_close(src);
	ckpt_arena_close(arena);
	src = NULL;
}

static pid_t spawn(void (*run)(void))
{
	pid_t pid;

	memset((void *)page, 0, sizeof(*page));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(0);
	}
	return pid;
}

static bool wait_count(uint64_t n)
{
	for (int i = 0; i < 5000 && page->count < n; i++)
		usleep(1000);
	return page->count >= n;
}

static char state_of(pid_t pid)
{
	struct ckpt_proc_stat st = { 0 };

	return ckpt_proc_stat(pid, &st) < 0 ? '-' : st.state;
}

static bool wait_state(pid_t pid, char state)
{
	for (int i = 0; i < 3000 && state_of(pid) != state; i++)
		usleep(1000);
	return state_of(pid) == state;
}

static bool gone(pid_t pid)
{
	char state = state_of(pid);

	return state == '-' || state == 'Z' || state == 'X';
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- what cannot be frozen ---- */

static void refused(pid_t pid, enum ckpt_code number, const char *word, const char *name)
{
	bool opened = open_source(pid, 1), ok = !opened || src->ops->freeze(src, arena, &frozen, &n_frozen, &err) < 0;

	report(ok && err.number == number && strstr(err.text, word), name);
	if (opened)
		ckpt_source_ptrace_close(src);
	ckpt_arena_close(arena);
	src = NULL;
}

static void *rest(void *arg)
{
	page->pid[0] = syscall(SYS_gettid);
	page->count++;
	pause();
	return arg;
}

static void with_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, rest, NULL);
	for (;;)
		pause();
}

static void in_vfork(void)
{
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	page->count = 1;
	pid = vfork();
	if (!pid) {
		page->pid[0] = getpid();
		for (;;)
			syscall(SYS_pause);
	}
}

static void idle(void)
{
	page->count++;
	for (;;)
		pause();
}

static void test_permission(void)
{
	pid_t pid = spawn(idle), tester;
	int status;

	wait_count(1);
	if (getuid())
		return end(pid);
	fflush(stdout);
	tester = fork();
	if (!tester) {
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(open_source(pid, 1) || err.number != CKPT_E_NOT_PERMITTED);
	}
	waitpid(tester, &status, 0);
	report(!status, "a process of another user is refused");
	end(pid);
}

static void test_refused(void)
{
	pid_t pid, of_vfork;
	char word[64];

	refused(999999999, CKPT_E_NO_SUCH_PROCESS, "no such process", "a number without a process is refused");
	refused(getpid(), CKPT_E_SELF_IN_TREE, "ckpt itself", "ckpt itself is refused");
	refused(getppid(), CKPT_E_SELF_IN_TREE, "ckpt itself", "an ancestor of ckpt is refused");
	if (state_of(2) != '-' && !getuid())
		refused(2, CKPT_E_KERNEL_THREAD, "kernel", "a thread of the kernel is refused");

	pid = spawn(with_thread);
	wait_count(1);
	snprintf(word, sizeof(word), "thread of process %d", pid);
	refused(page->pid[0], CKPT_E_NO_SUCH_PROCESS, word, "a thread is refused, its process named");
	end(pid);

	pid = spawn(idle);
	wait_count(1);
	ptrace(PTRACE_SEIZE, pid, 0, 0);
	refused(pid, CKPT_E_TRACED, "(test-freeze)", "a traced process is refused, the tracer named");
	end(pid);

	pid = fork();
	if (!pid)
		_exit(0);
	wait_state(pid, 'Z');
	refused(pid, CKPT_E_VANISHED, "ended", "a zombie is refused");
	waitpid(pid, NULL, 0);

	pid = spawn(in_vfork);
	wait_state(pid, 'D');
	refused(pid, CKPT_E_TASK_STATE, "vfork", "a process that waits in vfork is refused");
	of_vfork = page->pid[0];
	end(pid);
	if (of_vfork > 0)
		kill(of_vfork, SIGKILL);
	test_permission();
}

/* ---- who is in it ---- */

/* The child does not touch what its parent says of it: both share the page. */
static pid_t child(int i, void (*run)(void))
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(0);
	}
	page->pid[i] = pid;
	return pid;
}

static void with_child(void)
{
	child(1, idle);
	with_thread();
}

static void ends(void)
{
}

static void family(void)
{
	child(3, with_child);
	child(2, ends);
	child(4, idle);
	idle();
}

static const struct ckpt_frozen *task(pid_t pid)
{
	for (size_t i = 0; i < n_frozen; i++) {
		if (frozen[i].pid == pid)
			return &frozen[i];
	}
	return NULL;
}

static bool parents_first(void)
{
	for (size_t i = 1; i < n_frozen; i++) {
		const struct ckpt_frozen *parent = task(frozen[i].ppid);

		if (!parent || parent >= &frozen[i])
			return false;
	}
	return true;
}

static bool all_stand(void)
{
	for (size_t i = 0; i < n_frozen; i++) {
		for (size_t k = 0; k < frozen[i].n_tids; k++) {
			if (state_of(frozen[i].tids[k]) != (frozen[i].zombie ? 'Z' : 't'))
				return false;
		}
	}
	return true;
}

static void test_family(void)
{
	pid_t pid = spawn(family), grandchild, zombie, parent, stopped;
	bool ok = wait_count(4) && wait_state(page->pid[2], 'Z');

	grandchild = page->pid[1];
	zombie = page->pid[2];
	parent = page->pid[3];
	stopped = page->pid[4];
	if (!ok || !grandchild || !zombie || !parent || !stopped)
		return report(false, "a family");
	kill(stopped, SIGSTOP);
	wait_state(stopped, 'T');
	report(freeze(pid), "a family is frozen");
	ok = n_frozen == 5 && parents_first() && frozen[0].pid == pid && frozen[0].ppid == getpid() && task(grandchild);
	report(ok, "all of it is listed, parents first");
	ok = task(parent) && task(parent)->n_tids == 2 && task(parent)->tids[0] == parent;
	report(ok, "threads are listed, the leader first");
	ok = task(zombie) && task(zombie)->zombie && task(zombie)->n_tids == 1;
	report(ok, "a zombie is listed as such");
	ok = task(stopped) && task(stopped)->stopped && task(stopped)->stop_signal == SIGSTOP && !task(parent)->stopped;
	report(ok, "a stopped one is listed as such");
	report(all_stand(), "all stand still");
	src->ops->thaw(src);
	report(wait_state(pid, 'S') && wait_state(grandchild, 'S') && wait_state(stopped, 'T'),
	       "they go on, the stopped one stays stopped");
	done();

	report(freeze(pid) && !ckpt_source_ptrace_stop(src, &err), "a family is left stopped");
	done();
	ok = wait_state(pid, 'T') && wait_state(parent, 'T') && wait_state(grandchild, 'T') && wait_state(stopped, 'T');
	report(ok, "all of it is");
	kill(grandchild, SIGCONT);
	kill(parent, SIGCONT);
	kill(stopped, SIGCONT);
	kill(pid, SIGCONT);
	report(wait_state(pid, 'S') && wait_state(stopped, 'S'), "and goes on");

	ok = freeze(pid) && !ckpt_source_ptrace_kill(src, &err);
	done();
	report(ok && gone(parent) && gone(grandchild) && gone(stopped), "a family is killed");
	waitpid(pid, NULL, 0);
}

/* ---- trees that change all the time ---- */

static void *short_life(void *arg)
{
	page->count++;
	return arg;
}

static void breed(void)
{
	for (int i = 0;; i++) {
		pthread_t t;
		pid_t pid = 0;

		if (!pthread_create(&t, NULL, short_life, NULL))
			pthread_detach(t);
		if (i % 4 == 0)
			pid = fork();
		if (i % 4 == 0 && !pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (i % 8)
				execl("/bin/true", "true", NULL);
			usleep(300);
			_exit(0);
		}
		if (i % 16 == 0)
			usleep(100);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static int count_tid(pid_t pid)
{
	char path[64], name[32];
	int n = 0;

	snprintf(path, sizeof(path), "ls /proc/%d/task", pid);
	FILE *f = popen(path, "r");
	while (fscanf(f, "%31s", name) == 1)
		n++;
	pclose(f);
	return n;
}

static void test_breed(void)
{
	pid_t pid = spawn(breed);
	bool ok = wait_count(10);
	uint64_t before;

	for (int i = 0; i < 30 && ok; i++) {
		ok = freeze(pid) && all_stand() && parents_first();
		for (size_t k = 0; ok && k < n_frozen; k++)
			ok = frozen[k].zombie || count_tid(frozen[k].pid) == (int)frozen[k].n_tids;
		if (src)
			done();
	}
	before = page->count;
	report(ok && wait_count(before + 10), "a tree of short lives is frozen whole, and goes on");
	end(pid);
}

/* ---- interrupted calls ---- */

struct timed {
	const char *name;
	void (*run)(void);
	long nr;
	int arg;
	bool in_register;
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

	syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){ 10, 0 });
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
	return src->ops->read_mem(src, pid, &range, 1, &spec, &err) < 0 ? -1 : spec.tv_sec + spec.tv_nsec / 1e9;
}

/* What is left of ten seconds since STARTED has to fit to a stop somewhen during the freeze; SLACK: how much more may. */
static void test_again(const struct timed *t, pid_t pid, uint64_t started, double slack, const char *how)
{
	uint64_t before = ckpt_now_ns();
	struct ckpt_regs regs;
	bool ok = freeze(pid);
	double most = 10.05 - (before - started) / 1e9 + slack, least = 9.95 - (ckpt_now_ns() - started) / 1e9, left = -2;
	char name[200];

	if (ok && !src->ops->regs(src, pid, arena, &regs, &err) && (long)regs.gp.rax == t->nr)
		left = seconds(t, pid, &regs.gp);
	if (ok)
		done();
	snprintf(name, sizeof(name), "%s%s is made again with what is left of its time (%.3f s of %.3f to %.3f)", t->name, how, left,
		 least, most);
	report(left >= least && left <= most, name);
}

static void test_timed_call(const struct timed *t, pid_t pid, uint64_t started)
{
	test_again(t, pid, started, 0, "");
	usleep(100000);
	/* Restarted by the kernel it is another call, and how much time is left nobody tells: not more than all of it. */
	test_again(t, pid, started, 10, ", stopped once more,");
	report(wait_state(pid, 'S'), "and goes on");
	end(pid);
}

static void test_timed(void)
{
	static const struct timed calls[] = {
		{ "nanosleep", sleep10, SYS_nanosleep, 0, false },
		{ "nanosleep with a rest", sleep10_rest, SYS_nanosleep, 0, false },
		{ "clock_nanosleep", clock10, SYS_clock_nanosleep, 2, false },
		{ "poll", poll10, SYS_poll, 2, true },
		{ "epoll_wait", epoll10, SYS_epoll_wait, 3, true },
		{ "futex", futex10, SYS_futex, 3, false },
		{ "sigtimedwait", sigtimedwait10, SYS_rt_sigtimedwait, 2, false },
		{ "pselect", select10, SYS_pselect6, 4, false },
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

/* ---- signals ---- */

static void on_signal(int sig)
{
	page->other += sig == SIGUSR1;
}

static void catch(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
}

static void pause_loop(void)
{
	catch();
	for (;;) {
		page->count++;
		pause();
	}
}

static void suspend_loop(void)
{
	sigset_t usr1, none;

	catch();
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sigfillset(&none);
	sigdelset(&none, SIGUSR1);
	for (;;) {
		page->count++;
		sigsuspend(&none);
	}
}

static void epoll_loop(void)
{
	int e = epoll_create1(0);
	struct epoll_event ev;

	catch();
	for (;;) {
		page->count++;
		epoll_wait(e, &ev, 1, -1);
	}
}

static bool call_something(pid_t tid)
{
	struct ckpt_call call = { .nr = SYS_gettid, .buf_arg = -1 };

	return !src->ops->call(src, tid, &call, &err) && call.ret == tid;
}

/* SIGUSR1 while it is frozen must wake it up. SIGUSR2 must not where it is blocked as long as the call waits. */
static void test_signal(const char *what, void (*run)(void), bool usr2_wakes)
{
	pid_t pid = spawn(run);
	uint64_t before;
	char name[100];
	bool ok;

	wait_count(1);
	usleep(20000);
	ok = freeze(pid) && call_something(pid);
	done();
	usleep(20000);
	snprintf(name, sizeof(name), "%s is not woken by a freeze", what);
	report(ok && page->count == 1 && state_of(pid) == 'S', name);

	ok = freeze(pid) && call_something(pid) && !kill(pid, SIGUSR1) && call_something(pid);
	done();
	snprintf(name, sizeof(name), "%s is woken by a signal during a freeze", what);
	report(ok && wait_count(2) && page->other == 1, name);

	usleep(20000);
	before = page->count;
	ok = freeze(pid) && call_something(pid) && !kill(pid, SIGUSR2);
	done();
	usleep(20000);
	snprintf(name, sizeof(name), "%s is %swoken by a signal that it lets in %s", what, usr2_wakes ? "" : "not ",
		 usr2_wakes ? "as well" : "only otherwise");
	report(ok && page->count == before + usr2_wakes && page->other == 1, name);
	end(pid);
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
	ok = freeze(pid) && !kill(pid, SIGUSR1) && src->ops->peek_signal(src, pid, true, 0, &info, &err) == 1 &&
		info.si_signo == SIGUSR1 && info.si_pid == getpid() && !src->ops->peek_signal(src, pid, true, 1, &info, &err) &&
		!src->ops->peek_signal(src, pid, false, 0, &info, &err) && !src->ops->regs(src, pid, arena, &regs, &err);
	report(ok && (long)regs.gp.rax == -EINTR, "a call that a pending signal interrupts is not made again elsewhere");
	done();
	end(pid);
}

static void test_stopped(void)
{
	pid_t pid = spawn(pause_loop);
	int status;
	bool ok;

	wait_count(1);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	ok = freeze(pid) && frozen[0].stopped && call_something(pid) && call_something(pid);
	done();
	report(ok && wait_state(pid, 'T') && !waitpid(pid, &status, WUNTRACED | WNOHANG), "calls by a stopped process leave it stopped");
	ok = freeze(pid) && call_something(pid) && !kill(pid, SIGCONT) && call_something(pid);
	done();
	report(ok && wait_state(pid, 'S'), "SIGCONT during the freeze takes effect");
	ok = freeze(pid) && !kill(pid, SIGSTOP) && call_something(pid);
	done();
	report(ok && wait_state(pid, 'T'), "so does SIGSTOP");
	ok = freeze(pid) && !kill(pid, SIGKILL) && !call_something(pid) && err.number == CKPT_E_VANISHED;
	done();
	report(ok && gone(pid), "so does SIGKILL, and that is told");
	end(pid);
}

/* ---- restartable sequences, the vDSO ---- */

static struct {
	uint32_t version, flags;
	uint64_t start, len, abort;
} section __attribute__((aligned(32)));

static void sequence(void)
{
	uint64_t *in_thread = (uint64_t *)((char *)__builtin_thread_pointer() + __rseq_offset + 8);

	if (!__rseq_size)
		_exit(77);
	for (;;) {
		uint64_t end_of_it;

		page->count++;
		__asm__ volatile(
			"lea 1f(%%rip),%0; mov %0,8(%1); lea 2f(%%rip),%0; sub 8(%1),%0; mov %0,16(%1); lea 3f(%%rip),%0; mov %0,24(%1)\n"
			"mov %1,(%2)\n"
			"1: pause; jmp 1b\n"
			"2: ud2; .long 0x53053053\n"
			"3: nop\n"
			: "=&r"(end_of_it) : "r"(&section), "r"(in_thread) : "memory");
	}
}

static void test_sequence(void)
{
	pid_t pid = spawn(sequence);
	bool ok = wait_count(1);
	int status;

	for (int i = 0; i < 20 && ok; i++) {
		uint64_t before = page->count;

		ok = freeze(pid) && call_something(pid);
		done();
		ok &= wait_count(before + 1);
	}
	if (waitpid(pid, &status, WNOHANG) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		printf("ok %d # SKIP the C library has no restartable sequences\n", ++n_tests);
		return;
	}
	report(ok, "a thread stopped in a restartable sequence starts it again");
	end(pid);
}

static void test_vdso(void)
{
	struct target_shared *sh = target_shared_new();
	const struct target *clock = NULL;
	uint64_t start = 0, stop = 0;
	char line[300];
	bool ok = true;
	pid_t pid;
	FILE *f;

	for (size_t i = 0; i < n_targets; i++)
		clock = strcmp(targets[i].name, "clock") ? clock : &targets[i];
	pid = target_start(clock, sh, false);
	snprintf(line, sizeof(line), "/proc/%d/maps", pid);
	f = fopen(line, "re");
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "[vdso]"))
			sscanf(line, "%lx-%lx", &start, &stop);
	}
	fclose(f);
	for (int i = 0; i < 30 && ok; i++) {
		struct ckpt_regs regs;

		ok = freeze(pid) && !src->ops->regs(src, pid, arena, &regs, &err) && (regs.gp.rip < start || regs.gp.rip >= stop);
		done();
	}
	report(ok && start && !target_trouble(pid, sh), "nobody is stopped inside of the vDSO");
	target_end(pid, sh);
}

/* ---- memory and descriptors ---- */

static char *area;

static void with_memory(void)
{
	area = mmap((void *)0x10000000, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < 4; i++)
		memset(area + i * 4096, 'a' + i, 4096);
	mprotect(area + 4096, 4096, PROT_NONE);
	munmap(area + 3 * 4096, 4096);
	idle();
}

static void test_memory(void)
{
	pid_t pid = spawn(with_memory);
	struct iovec ranges[3] = { { (void *)0x10000f00, 0x1200 }, { (void *)0x10000000, 1 }, { (void *)0x10002ff0, 16 } };
	char buf[0x1200 + 17], link[300], mine[300];
	struct iovec beyond = { (void *)0x10002ff0, 32 };
	int fd, r;
	bool ok;

	wait_count(1);
	ok = freeze(pid) && call_something(pid) && !src->ops->read_mem(src, pid, ranges, 3, buf, &err);
	ok = ok && buf[0] == 'a' && buf[0xff] == 'a' && buf[0x100] == 'b' && buf[0x10ff] == 'b' && buf[0x1100] == 'c' &&
		buf[0x11ff] == 'c' && buf[0x1200] == 'a' && buf[0x1201] == 'c' && buf[0x1210] == 'c';
	report(ok, "memory is read, also where the program may not");
	report(src->ops->read_mem(src, pid, &beyond, 1, buf, &err) < 0 && strstr(err.text, "0x10003000"), "unmapped memory is not");
	fd = src->ops->dup_fd(src, pid, 1, &err);
	ok = fd >= 0 && syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, 1) == 0;
	report(ok && !src->ops->compare(src, pid, getpid(), KCMP_FILE, 1, 1) && src->ops->compare(src, pid, getpid(), KCMP_VM, 0, 0) > 0,
	       "descriptors are duplicated and compared");
	close(fd);
	r = src->ops->read_link(src, pid, "exe", link, sizeof(link), &err);
	ok = r == readlink("/proc/self/exe", mine, sizeof(mine)) && !memcmp(link, mine, r) && !link[r];
	fd = src->ops->open_proc(src, pid, "comm", &err);
	ok = ok && read(fd, buf, sizeof(buf)) == 12 && !memcmp(buf, "test-freeze\n", 12);
	close(fd);
	report(ok, "links and files of /proc are read");
	done();
	end(pid);
}

int main(void)
{
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_refused();
	test_family();
	test_breed();
	test_timed();
	test_signal("pause", pause_loop, true);
	test_signal("sigsuspend", suspend_loop, false);
	test_signal("epoll_wait", epoll_loop, true);
	test_signal_elsewhere();
	test_stopped();
	test_sequence();
	test_vdso();
	test_memory();
	printf("1..%d\n", n_tests);
	return failed;
}
