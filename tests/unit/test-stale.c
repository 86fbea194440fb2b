/* SPDX-License-Identifier: Apache-2.0 */
/* What was known of a thread when it was asked to stop, and is not so any more: an exec that came
 * between, or a death. Made up here, for in life it is a matter of microseconds. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/clocks.h"
#include "injector/remote.h"
#include "injector/source-ptrace.h"
#include "tests/lib/frozen.h"

/* Above the vDSO, for code is looked for from the top. */
#define TOP ((char *)0x7fffffff0000)
#define MUCH_LATER_NS 500000000

/* Who executed a program has the number of a thread that was asked. */
static void test_never_asked(void)
{
	pid_t pid = spawn(idle);
	bool ok = wait_count(1) && open_source(pid, 10) && !ptrace(PTRACE_SEIZE, pid, 0, 0);
	struct ckpt_tree *tree = ckpt_source_ptrace_tree(frozen.src);
	struct ckpt_tracee *t = ckpt_tree_add(tree, pid, getpid())->threads[0];

	t->state = CKPT_TRACEE_WAITED;
	t->stopped_at = ckpt_now_ns();
	tree->deadline = t->stopped_at + MUCH_LATER_NS;
	tree->somebody_died = true;
	ckpt_tick_start(&tree->tick);
	ok = ok && ckpt_tree_await(tree, &frozen.err) >= 0 && t->state == CKPT_TRACEE_STOPPED;
	ckpt_tick_stop(&tree->tick);
	report(ok, "who has not heard of it is asked to stop again");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	let_go();
	end_process(pid);
}

static int file = -1;

static void *map_file(int prot)
{
	return mmap(TOP, CKPT_PAGE, prot, MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0);
}

/* Two processes have the same file there, one of them with code of its own in it. */
static void with_code(void)
{
	static const char code[] = "\x0f\x05\xc3"                     /* syscall */
				   "\x48\xc7\xc0\x0f\0\0\0\x0f\x05"   /* sigreturn */
				   "\x58\xc3\x5f\xc3\x5e\xc3\x5a\xc3" /* pops */
				   "\x48\x89\x07\xc3";                /* a store */
	pid_t child = fork();
	void *at = map_file(child ? PROT_READ | PROT_WRITE : PROT_READ | PROT_EXEC);

	if (at != TOP)
		_exit(1);
	if (child) {
		memcpy(at, code, sizeof(code));
		mprotect(at, CKPT_PAGE, PROT_READ | PROT_EXEC);
		frozen.page->pid[0] = child;
	} else {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	idle();
}

/* As when areas were read before an exec and memory behind it. */
static void test_other_code(void)
{
	char name[] = "test-stale.XXXXXX";
	const struct ckpt_proc *proc;
	pid_t pid;
	bool ok;

	file = mkstemp(name);
	unlink(name);
	if (ftruncate(file, CKPT_PAGE))
		return report(false, "a file");
	pid = spawn(with_code);
	ok = wait_count(2) && freeze_tree(pid) && call_something(pid);
	report(ok, "a program with code of its own");
	if (ok) {
		proc = ckpt_tree_proc(ckpt_source_ptrace_tree(frozen.src), pid);
		report((char *)proc->gadgets.call == TOP, "which is what calls go through");
		report(call_something(frozen.page->pid[0]),
		       "what is known of a file is not true of each program that has it");
		let_go();
	}
	end_process(pid);
	close(file);
}

/* Whatever its memory says then, that is what is wrong with it. */
static void test_killed(void)
{
	pid_t pid = spawn(idle);
	bool ok = wait_count(1) && freeze_tree(pid) && call_something(pid);

	ckpt_remote_rest(ckpt_source_ptrace_tree(frozen.src), pid);
	kill(pid, SIGKILL);
	ok = ok && gone(pid) && !call_something(pid) && frozen.err.number == CKPT_E_VANISHED;
	report(ok, "a call of who was killed meanwhile fails, and says why");
	let_go();
	end_process(pid);
}

int main(void)
{
	test_never_asked();
	test_other_code();
	test_killed();
	return report_end();
}
