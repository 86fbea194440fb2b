/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For scripts: `stubborn HOW` is a program that is hard to ask for a checkpoint. It writes "ready"
 * when it has become so, and counts in the file "beats" while its main thread can. Calls that the
 * library would see are made by the instruction.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libinproc/ckpt.h"
#include "tests/lib/proc.h"

static long raw(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
		     : "rcx", "r11", "memory");
	return ret;
}

static void block(void)
{
	uint64_t all = ~0ull;

	raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 8);
}

/* As the kernel wants it. */
static void ignore(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} sa = { .handler = SIG_IGN };

	raw(SYS_rt_sigaction, 64, (long)&sa, 0, 8);
}

static void *blocked_thread(void *arg)
{
	block();
	test_write("ready", "%d\n", gettid());
	for (;;)
		sleep(1000);
	return arg;
}

/* For longer than the requester waits for one answer, but it runs meanwhile. */
static void *often_blocked_thread(void *arg)
{
	uint64_t none = 0;

	for (;;) {
		block();
		test_write("ready", "%d\n", gettid());
		for (int i = 0; i < 300; i++)
			usleep(10000);
		raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, 8);
		usleep(1300000); /* as long as from one try to the next */
	}
	return arg;
}

static void start_thread(void *(*thread)(void *))
{
	pthread_t t;

	pthread_create(&t, NULL, thread, NULL);
	while (!test_exists("ready"))
		usleep(1000);
}

static void block_in_thread(void)
{
	start_thread(blocked_thread);
}

static void block_often(void)
{
	start_thread(often_blocked_thread);
}

static int say_no(enum ckpt_event event, void *arg)
{
	(void)event, (void)arg;
	return 23;
}

static int hang(enum ckpt_event event, void *arg)
{
	(void)event, (void)arg;
	for (int i = 0; i < 4000 && !test_exists("enough"); i++)
		usleep(1000);
	return 0;
}

/* The child cannot be asked; when it ends its own has left the tree. */
static void lose_grandchild(void)
{
	if (fork()) {
		while (!test_exists("orphan"))
			usleep(1000);
		return;
	}
	if (fork()) {
		block();
		while (!test_exists("enough"))
			usleep(1000);
		_exit(0);
	}
	for (unsigned long n = 1; n < 100000 && !test_exists("end"); n++) {
		test_write("orphan", "%lu\n", n);
		usleep(5000);
	}
	_exit(0);
}

static void refuse_by_hook(void)
{
	if (ckpt_available())
		ckpt_on(CKPT_BEFORE, say_no, NULL);
}

static void hang_in_hook(void)
{
	if (ckpt_available())
		ckpt_on(CKPT_BEFORE, hang, NULL);
}

static void disable(void)
{
	if (ckpt_available())
		ckpt_disable();
}

/* The parent of vfork(2) stands still where no signal reaches it; the child, which may do little,
 * tells. */
static void wait_for_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		int fd = open("ready", O_WRONLY | O_CREAT, 0600);

		(void)!write(fd, "yes\n", 4);
		for (int i = 0; i < 6000 && access("enough", F_OK); i++)
			raw(SYS_nanosleep, (long)&(struct timespec){ 0, 10000000 }, 0, 0, 0);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* The same in a child, of which the library has not been told by any signal before. */
static void vfork_in_child(void)
{
	if (fork()) {
		while (!test_exists("ready"))
			usleep(1000);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	wait_for_vfork();
	for (;;)
		pause();
}

/* Who may send it signals, but is not who it acts as. */
static void two_ids(void)
{
	if (setresuid(TEST_UID, 0, 0))
		_exit(1);
}

static const struct {
	const char *how;
	void (*become)(void);
} ways[] = {
	{ "plain", NULL },
	{ "blocked", block },
	{ "blocked-thread", block_in_thread },
	{ "often-blocked", block_often },
	{ "ignored", ignore },
	{ "hook-no", refuse_by_hook },
	{ "hook-hangs", hang_in_hook },
	{ "loses-grandchild", lose_grandchild },
	{ "disabled", disable },
	{ "vfork", wait_for_vfork },
	{ "vfork-child", vfork_in_child },
	{ "two-ids", two_ids },
};

/* Another program all the time; it counts, too. */
static void execute_again(char **argv)
{
	char number[16];
	int n = argv[2] ? atoi(argv[2]) + 1 : 1;

	snprintf(number, sizeof(number), "%d", n);
	test_write("beats", "%d\n", n);
	test_write("ready", "%d\n", getpid());
	execl("/proc/self/exe", argv[0], "exec", number, NULL);
	_exit(1);
}

/* Answers every requester there is in place of its program; who has been reached is in "tricked".
 */
static void answer_all(void)
{
	int n = 0;

	test_write("ready", "%d\n", getpid());
	while (!test_exists("enough")) {
		char *text = test_read("/proc/net/unix", NULL), *at = text;

		while (at && (at = strstr(at, "@ckpt-"))) {
			struct sockaddr_un name = { .sun_family = AF_UNIX };
			int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
			char hello[64] = "";

			memcpy(name.sun_path + 1, ++at, 21);
			if (!connect(fd, (struct sockaddr *)&name, sizeof(sa_family_t) + 22) &&
			    send(fd, hello, sizeof(hello), MSG_NOSIGNAL) > 0)
				test_write("tricked", "%d\n", ++n);
			usleep(100);
			close(fd);
		}
		free(text);
	}
	_exit(0);
}

/* Of another process: stops it by ptrace for so long. */
static int hold(pid_t pid, int ms)
{
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		return 1;
	waitpid(pid, NULL, __WALL);
	test_sleep_ms(ms);
	return ptrace(PTRACE_DETACH, pid, 0, 0) < 0;
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "hold"))
		return hold(atoi(argv[2]), atoi(argv[3]));
	if (argc > 1 && !strcmp(argv[1], "impostor"))
		answer_all();
	if (argc > 1 && !strcmp(argv[1], "exec"))
		execute_again(argv);
	if (argc > 1 && !strcmp(argv[1], "short")) {
		usleep(argc > 2 ? atoi(argv[2]) : 20000);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(ways); i++)
		if (!strcmp(argv[1], ways[i].how) && ways[i].become)
			ways[i].become();
	test_write("ready", "%d\n", getpid());
	for (unsigned long n = 1; n < 100000; n++) {
		test_write("beats", "%lu\n", n);
		usleep(5000);
	}
	return 0;
}
