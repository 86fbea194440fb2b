/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a tree and letting go of it: who is in it, what is refused, what of interrupted calls,
 * what is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "tests/lib/frozen.h"
#include "tests/lib/targets.h"

/* ---- what cannot be frozen ---- */

static void refused(pid_t pid, enum ckpt_code number, const char *word, const char *name)
{
	bool opened = open_source(pid, 1),
	     ok = !opened || frozen.src->ops->freeze(frozen.src, frozen.arena, &frozen.task,
						     &frozen.n, &frozen.err) < 0;

	report(ok && frozen.err.number == number && strstr(frozen.err.text, word), name);
	if (opened)
		ckpt_source_close(frozen.src);
	ckpt_arena_close(frozen.arena);
	frozen.src = NULL;
}

static void in_vfork(void)
{
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	frozen.page->count = 1;
	pid = vfork();
	if (!pid) {
		frozen.page->pid[0] = getpid();
		for (;;)
			syscall(SYS_pause);
	}
}

static void test_permission(void)
{
	pid_t pid = spawn(idle), tester;
	int status;

	wait_count(1);
	if (getuid())
		return end_process(pid);
	fflush(stdout);
	tester = fork();
	if (!tester) {
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(open_source(pid, 1) || frozen.err.number != CKPT_E_NOT_PERMITTED);
	}
	waitpid(tester, &status, 0);
	report(!status, "a process of another user is refused");
	end_process(pid);
}

static void test_refused(void)
{
	pid_t pid, of_vfork;
	char word[64];

	refused(999999999, CKPT_E_NO_SUCH_PROCESS, "no such process",
		"a number without a process is refused");
	refused(getpid(), CKPT_E_SELF_IN_TREE, "ckpt itself", "ckpt itself is refused");
	refused(getppid(), CKPT_E_SELF_IN_TREE, "ckpt itself", "an ancestor of ckpt is refused");
	if (state_of(2) != '-' && !getuid())
		refused(2, CKPT_E_KERNEL_THREAD, "kernel", "a thread of the kernel is refused");

	pid = spawn(with_thread);
	wait_count(1);
	snprintf(word, sizeof(word), "thread of process %d", pid);
	refused(frozen.page->pid[0], CKPT_E_NO_SUCH_PROCESS, word,
		"a thread is refused, its process named");
	end_process(pid);

	pid = spawn(idle);
	wait_count(1);
	ptrace(PTRACE_SEIZE, pid, 0, 0);
	refused(pid, CKPT_E_TRACED, "(test-freeze)",
		"a traced process is refused, the tracer named");
	end_process(pid);

	pid = fork();
	if (!pid)
		_exit(0);
	wait_state(pid, 'Z');
	refused(pid, CKPT_E_VANISHED, "ended", "a zombie is refused");
	waitpid(pid, NULL, 0);

	pid = spawn(in_vfork);
	wait_state(pid, 'D');
	refused(pid, CKPT_E_TASK_STATE, "vfork", "a process that waits in vfork is refused");
	of_vfork = frozen.page->pid[0];
	end_process(pid);
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
	frozen.page->pid[i] = pid;
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
	for (size_t i = 0; i < frozen.n; i++) {
		if (frozen.task[i].pid == pid)
			return &frozen.task[i];
	}
	return NULL;
}

static bool parents_first(void)
{
	for (size_t i = 1; i < frozen.n; i++) {
		const struct ckpt_frozen *parent = task(frozen.task[i].ppid);

		if (!parent || parent >= &frozen.task[i])
			return false;
	}
	return true;
}

static bool all_stand(void)
{
	for (size_t i = 0; i < frozen.n; i++) {
		for (size_t k = 0; k < frozen.task[i].n_tids; k++) {
			if (state_of(frozen.task[i].tids[k]) != (frozen.task[i].zombie ? 'Z' : 't'))
				return false;
		}
	}
	return true;
}

static void test_family(void)
{
	pid_t pid = spawn(family), grandchild, zombie, parent, stopped;
	bool ok = wait_count(4) && wait_state(frozen.page->pid[2], 'Z');

	grandchild = frozen.page->pid[1];
	zombie = frozen.page->pid[2];
	parent = frozen.page->pid[3];
	stopped = frozen.page->pid[4];
	if (!ok || !grandchild || !zombie || !parent || !stopped)
		return report(false, "a family");
	kill(stopped, SIGSTOP);
	wait_state(stopped, 'T');
	report(freeze_tree(pid), "a family is frozen");
	ok = frozen.n == 5 && parents_first() && frozen.task[0].pid == pid &&
	     frozen.task[0].ppid == getpid() && task(grandchild);
	report(ok, "all of it is listed, parents first");
	ok = task(parent) && task(parent)->n_tids == 2 && task(parent)->tids[0] == parent;
	report(ok, "threads are listed, the leader first");
	ok = task(zombie) && task(zombie)->zombie && task(zombie)->n_tids == 1;
	report(ok, "a zombie is listed as such");
	ok = task(stopped) && task(stopped)->stopped && task(stopped)->stop_signal == SIGSTOP &&
	     !task(parent)->stopped;
	report(ok, "a stopped one is listed as such");
	report(all_stand(), "all stand still");
	frozen.src->ops->thaw(frozen.src);
	report(wait_state(pid, 'S') && wait_state(grandchild, 'S') && wait_state(stopped, 'T'),
	       "they go on, the stopped one stays stopped");
	let_go();

	report(freeze_tree(pid) && !frozen.src->ops->stop(frozen.src, &frozen.err),
	       "a family is left stopped");
	let_go();
	ok = wait_state(pid, 'T') && wait_state(parent, 'T') && wait_state(grandchild, 'T') &&
	     wait_state(stopped, 'T');
	report(ok, "all of it is");
	kill(grandchild, SIGCONT);
	kill(parent, SIGCONT);
	kill(stopped, SIGCONT);
	kill(pid, SIGCONT);
	report(wait_state(pid, 'S') && wait_state(stopped, 'S'), "and goes on");

	ok = freeze_tree(pid) && !frozen.src->ops->kill(frozen.src, &frozen.err);
	let_go();
	report(ok && gone(parent) && gone(grandchild) && gone(stopped), "a family is killed");
	waitpid(pid, NULL, 0);
}

/* ---- trees that change all the time ---- */

static void *short_life(void *arg)
{
	frozen.page->count++;
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
		ok = freeze_tree(pid) && all_stand() && parents_first();
		for (size_t k = 0; ok && k < frozen.n; k++)
			ok = frozen.task[k].zombie ||
			     count_tid(frozen.task[k].pid) == (int)frozen.task[k].n_tids;
		if (frozen.src)
			let_go();
	}
	before = frozen.page->count;
	report(ok && wait_count(before + 10), "a tree of short lives is frozen whole, and goes on");
	end_process(pid);
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

		frozen.page->count++;
		__asm__ volatile(
			"lea 1f(%%rip),%0; mov %0,8(%1); lea 2f(%%rip),%0; sub 8(%1),%0; mov %0,16(%1); lea 3f(%%rip),%0; mov %0,24(%1)\n"
			"mov %1,(%2)\n"
			"1: pause; jmp 1b\n"
			"2: ud2; .long 0x53053053\n"
			"3: nop\n"
			: "=&r"(end_of_it)
			: "r"(&section), "r"(in_thread)
			: "memory");
	}
}

static void test_sequence(void)
{
	pid_t pid = spawn(sequence);
	bool ok = wait_count(1);
	int status;

	for (int i = 0; i < 20 && ok; i++) {
		uint64_t before = frozen.page->count;

		ok = freeze_tree(pid) && call_something(pid);
		let_go();
		ok &= wait_count(before + 1);
	}
	if (waitpid(pid, &status, WNOHANG) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 77) {
		printf("ok %d # SKIP the C library has no restartable sequences\n",
		       ++frozen.n_tests);
		return;
	}
	report(ok, "a thread stopped in a restartable sequence starts it again");
	end_process(pid);
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

		ok = freeze_tree(pid) &&
		     !frozen.src->ops->regs(frozen.src, pid, frozen.arena, &regs, &frozen.err) &&
		     (regs.gp.rip < start || regs.gp.rip >= stop);
		let_go();
	}
	report(ok && start && !target_trouble(pid, sh), "nobody is stopped inside of the vDSO");
	target_end(pid, sh);
}

/* ---- memory and descriptors ---- */

static char *area;

static void with_memory(void)
{
	area = mmap((void *)0x10000000, 4 * 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < 4; i++)
		memset(area + i * 4096, 'a' + i, 4096);
	mprotect(area + 4096, 4096, PROT_NONE);
	munmap(area + 3 * 4096, 4096);
	idle();
}

static void test_memory(void)
{
	pid_t pid = spawn(with_memory);
	struct iovec ranges[3] = { { (void *)0x10000f00, 0x1200 },
				   { (void *)0x10000000, 1 },
				   { (void *)0x10002ff0, 16 } };
	char buf[0x1200 + 17], link[300], mine[300];
	struct iovec beyond = { (void *)0x10002ff0, 32 };
	int fd, r;
	bool ok;

	wait_count(1);
	ok = freeze_tree(pid) && call_something(pid) &&
	     !frozen.src->ops->read_mem(frozen.src, pid, ranges, 3, buf, &frozen.err);
	ok = ok && buf[0] == 'a' && buf[0xff] == 'a' && buf[0x100] == 'b' && buf[0x10ff] == 'b' &&
	     buf[0x1100] == 'c' && buf[0x11ff] == 'c' && buf[0x1200] == 'a' && buf[0x1201] == 'c' &&
	     buf[0x1210] == 'c';
	report(ok, "memory is read, also where the program may not");
	report(frozen.src->ops->read_mem(frozen.src, pid, &beyond, 1, buf, &frozen.err) < 0 &&
		       strstr(frozen.err.text, "0x10003000"),
	       "unmapped memory is not");
	fd = frozen.src->ops->dup_fd(frozen.src, pid, 1, &frozen.err);
	ok = fd >= 0 && syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, 1) == 0;
	report(ok && !frozen.src->ops->compare(frozen.src, pid, getpid(), KCMP_FILE, 1, 1) &&
		       frozen.src->ops->compare(frozen.src, pid, getpid(), KCMP_VM, 0, 0) > 0,
	       "descriptors are duplicated and compared");
	close(fd);
	r = frozen.src->ops->read_link(frozen.src, pid, "exe", link, sizeof(link), &frozen.err);
	ok = r == readlink("/proc/self/exe", mine, sizeof(mine)) && !memcmp(link, mine, r) &&
	     !link[r];
	fd = frozen.src->ops->open_proc(frozen.src, pid, "comm", &frozen.err);
	ok = ok && read(fd, buf, sizeof(buf)) == 12 && !memcmp(buf, "test-freeze\n", 12);
	close(fd);
	report(ok, "links and files of /proc are read");
	let_go();
	end_process(pid);
}

int main(void)
{
	test_refused();
	test_family();
	test_breed();
	test_sequence();
	test_vdso();
	test_memory();
	return report_end();
}
