/* SPDX-License-Identifier: Apache-2.0 */
/* What processes have in common although they are no threads, and threads have apart although they
 * are: descriptors, working directory, umask. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define NUMBER 77

/* A child that does as it is told. */
static struct orders {
	volatile int order, done;
	int value;
	char path[PATH_MAX];
} * orders;
static pid_t child;

enum { CLOSE = 1, LOOK, CHDIR, UMASK, MAKE_PAIR, LOOK_AT_PAIR };
static int make_pair(void), look_at_pair(void);

static void obey(void)
{
	struct orders *o = orders; /* it may give some of its own */

	for (int seen = 0;;) {
		while (o->order <= seen * 10)
			test_sleep_ms(1);
		switch (o->order % 10) {
		case CLOSE:
			o->value = close(NUMBER);
			break;
		case LOOK:
			o->value = fcntl(NUMBER, F_GETFD);
			break;
		case CHDIR:
			o->value = chdir("/");
			break;
		case UMASK:
			o->value = umask(011);
			break;
		case MAKE_PAIR:
			o->value = make_pair();
			break;
		case LOOK_AT_PAIR:
			o->value = look_at_pair();
			break;
		}
		o->done = ++seen;
	}
}

static int tell(int order)
{
	int n = orders->done;

	orders->order = n * 10 + order;
	CHECK(EVENTUALLY(orders->done == n + 1));
	return orders->value;
}

static void start(unsigned long flags)
{
	orders = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(orders != MAP_FAILED);
	child = CHECK_CALL(syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL));
	if (!child)
		obey();
}

/* ---- descriptors ---- */

static void setup_files(void)
{
	start(CLONE_FILES);
	CHECK_CALL(dup2(CHECK_CALL(open("/dev/null", O_RDONLY)), NUMBER));
	CHECK_INT(tell(LOOK), 0);
}

static void check_files(void)
{
	CHECK_INT(tell(LOOK), 0);
	CHECK_CALL(fcntl(NUMBER, F_SETFD, FD_CLOEXEC));
	CHECK_INT(tell(LOOK), FD_CLOEXEC);
	CHECK_INT(tell(CLOSE), 0);
	CHECK(fcntl(NUMBER, F_GETFD) < 0 && errno == EBADF);
}

/* ---- working directory and umask ---- */

static char here[PATH_MAX];

static void setup_folder(void)
{
	start(CLONE_FS);
	CHECK_CALL(mkdir("below", 0755));
	CHECK_CALL(chdir("below"));
	umask(027);
	CHECK(getcwd(here, sizeof(here)));
}

static void check_folder(void)
{
	char now[PATH_MAX];

	CHECK(getcwd(now, sizeof(now)));
	CHECK_TEXT(now, here);
	CHECK_INT(tell(UMASK), 027);
	CHECK_INT(umask(0), 011);
	CHECK_INT(tell(CHDIR), 0);
	CHECK(getcwd(now, sizeof(now)));
	CHECK_TEXT(now, "/");
}

/* ---- both, below another root ---- */

/* Not of the process that the harness talks to. */
static int make_pair(void)
{
	start(CLONE_FILES | CLONE_FS);
	return mkdir("root", 0755) < 0 || mkdir("root/inner", 0755) < 0 || chroot("root") < 0 ||
	       dup2(open("/", O_RDONLY), NUMBER) < 0;
}

static int look_at_pair(void)
{
	struct stat st;

	return stat("/inner", &st) < 0 || stat("root/inner", &st) < 0 || /* where it was */
	       tell(LOOK) != 0 || tell(CHDIR) != 0 || stat("inner", &st) < 0;
}

static void setup_root(void)
{
	start(0);
	CHECK_INT(tell(MAKE_PAIR), 0);
}

static void check_root(void)
{
	CHECK_INT(tell(LOOK_AT_PAIR), 0);
}

/* ---- a thread apart ---- */

static pthread_t threads[2];
static volatile int ready, go;
static char cwds[2][PATH_MAX];

static void *apart(void *arg)
{
	int i = (long)arg;
	char now[PATH_MAX];

	CHECK_CALL(unshare(CLONE_FS));
	CHECK_CALL(chdir(i ? "one" : "two"));
	umask(i ? 070 : 07);
	CHECK(getcwd(cwds[i], sizeof(cwds[i])));
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!go)
		test_sleep_ms(1);
	CHECK(getcwd(now, sizeof(now)));
	CHECK_TEXT(now, cwds[i]);
	CHECK_INT(umask(0), i ? 070 : 07);
	CHECK_CALL(chdir("/"));
	return NULL;
}

static void setup_apart(void)
{
	CHECK_CALL(mkdir("one", 0755));
	CHECK_CALL(mkdir("two", 0755));
	for (long i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, apart, (void *)i));
	CHECK(EVENTUALLY(ready == 2));
	umask(0177);
	CHECK(getcwd(here, sizeof(here)));
}

static void check_apart(void)
{
	char now[PATH_MAX];

	go = true;
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(getcwd(now, sizeof(now)));
	CHECK_TEXT(now, here);
	CHECK_INT(umask(0), 0177);
}

/* ---- what is refused ---- */

static int wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg != NULL;
}

static void setup_memory(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	child = CHECK_CALL(clone(wait_for_ever, stack + 65536, CLONE_VM | SIGCHLD, NULL));
}

static void check_memory(void)
{
	CHECK_CALL(kill(child, 0));
}

#define INSIDE "the library answers for processes that are apart, or wholly one"

CASES({ "descriptors in common stay so", setup_files, check_files },
      { "a working directory and umask in common stay so", setup_folder, check_folder },
      { "all of it, below another root", setup_root, check_root, .flags = CASE_ROOT,
	.not_inside = "below another root the library finds no /proc" },
      { "threads keep a working directory of their own", setup_apart, check_apart },
      { "memory in common is refused", setup_memory, check_memory, CASE_RUNS,
	.refused = { "CKPT-E0207", "shares its memory" }, .not_inside = INSIDE })
