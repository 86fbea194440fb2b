/* SPDX-License-Identifier: Apache-2.0 */
/* A process whose main thread has ended while others go on: to its parent it lives. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define STATUS 7

static struct shared {
	volatile int go, done;
	volatile int wrong; /* line of this file */
	volatile int taken;
	pid_t child;
} * shared;
static pid_t pid;
static int marked, sent;

#define EXPECT(cond)                              \
	do {                                      \
		if (!(cond))                      \
			shared->wrong = __LINE__; \
	} while (0)

static void take(int sig)
{
	(void)sig;
	shared->taken++;
}

static void look(void)
{
	siginfo_t info = { 0 };
	char text[16] = "";

	EXPECT(read(marked, text, sizeof(text)) == 6 && !strcmp(text, "marked"));
	EXPECT(getpid() == pid);
	EXPECT(getppid() != 0);
	EXPECT(!kill(shared->child, 0));
	EXPECT(!kill(shared->child, SIGKILL));
	EXPECT(!waitid(P_PID, shared->child, &info, WEXITED) && info.si_status == SIGKILL);
	EXPECT(sent == 41);
}

static void *outlive(void *arg)
{
	sent = 41;
	shared->done = 1;
	while (!shared->go)
		test_sleep_ms(1);
	look();
	shared->done = 2;
	while (shared->go < 2)
		test_sleep_ms(1);
	syscall(SYS_exit, STATUS); /* returning, libc would end the process */
	return arg;
}

/* In the process: its first thread begins the second one and ends. */
static void live(bool pending)
{
	pthread_t thread;
	pid_t child;

	pid = getpid();
	marked = open("marked", O_RDONLY);
	signal(SIGUSR1, take);
	if (pending) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		kill(getpid(), SIGUSR1);
	}
	child = fork();
	if (!child)
		for (;;)
			pause();
	shared->child = child;
	prctl(PR_SET_NAME, "has ended");
	if (pthread_create(&thread, NULL, outlive, NULL))
		_exit(99);
	syscall(SYS_exit, STATUS);
}

static void begin(bool pending)
{
	CHECK(test_write("marked", "marked"));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	pid = CHECK_CALL(fork());
	if (!pid)
		live(pending);
	CHECK(EVENTUALLY(shared->done == 1 && test_proc_state(pid, NULL) == 'Z'));
}

static void setup(void)
{
	begin(false);
}

static void setup_pending(void)
{
	begin(true);
}

static void check(void)
{
	char *name = test_status(pid, "Name");
	int status;

	CHECK_TEXT(name, "has ended");
	CHECK_INT(test_proc_state(pid, NULL), 'Z');
	CHECK_INT(waitpid(pid, &status, WNOHANG), 0);
	shared->go = 1;
	CHECK(EVENTUALLY(shared->done == 2));
	CHECK_INT(shared->wrong, 0);
	shared->go = 2;
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), STATUS);
}

#define INSIDE "signals of the process can be put back by its main thread only"

CASES({ "a process outlives its main thread", setup, check },
      { "the same, copied while it runs", setup, check, .flags = CASE_LIVE },
      { "the same, from copies", setup, check, .flags = CASE_LIVE | CASE_COPIES },
      { "the same, in images that go on from each other", setup, check, .chain = 2 },
      { "a signal that nobody has taken still waits", setup_pending, check, .not_inside = INSIDE },
      { "from inside it is named", setup_pending, check, .flags = CASE_INSIDE,
	.refused = { "CKPT-E0210", "has ended" } })
