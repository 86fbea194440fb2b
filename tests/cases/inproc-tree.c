/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees and crowds, checkpointed together: what is on its way between processes is in one image,
 * once. Each item that is passed along carries a number, so that one that is lost or there twice
 * is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/act.h"

/* ---- a ring of processes: each takes a number, adds one, passes it on ---- */

#define RING 5
static int ring[RING][2];
static int shared_file;
static struct ledger {
	volatile unsigned long passed[RING];
	volatile unsigned int bad;
} * ledger;

static void pass_on(int i)
{
	unsigned long last = 0, n;

	for (;;) {
		if (read(ring[i][0], &n, sizeof(n)) != sizeof(n) || (last && n != last + RING))
			ledger->bad = 1 + i;
		last = n;
		n++;
		/* One description for all: whoever has the number writes at the end of it. */
		if (dprintf(shared_file, "%lu\n", n) < 2)
			ledger->bad = 100 + i;
		if (write(ring[(i + 1) % RING][1], &n, sizeof(n)) != sizeof(n))
			ledger->bad = 200 + i;
		ledger->passed[i]++;
		if (ledger->bad)
			return;
	}
}

static void *pass_on_thread(void *arg)
{
	pass_on((int)(long)arg);
	return NULL;
}

static int next_member = 1;

static void become_member(void)
{
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, pass_on_thread, (void *)(long)next_member));
}

static void check_member(void)
{
	CHECK_INT(ledger->bad, 0);
}

static void setup_ring(void)
{
	unsigned long n = 1;

	ledger = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(ledger != MAP_FAILED);
	shared_file = CHECK_CALL(open("numbers", O_RDWR | O_CREAT | O_TRUNC, 0600));
	for (int i = 0; i < RING; i++)
		if (i % 2)
			CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, ring[i]));
		else
			CHECK_CALL(pipe(ring[i]));
	for (; next_member < RING; next_member++)
		case_child(become_member, check_member);
	next_member = 0;
	become_member();
	CHECK(write(ring[0][1], &n, sizeof(n)) == sizeof(n));
	CHECK(EVENTUALLY(ledger->passed[RING - 1] > 0 || ledger->bad));
}

static void check_ring(void)
{
	unsigned long before = ledger->passed[0], n = 0;
	char *text, *at;

	CHECK(EVENTUALLY(ledger->passed[0] > before + 20 || ledger->bad));
	CHECK_INT(ledger->bad, 0);
	text = test_read("numbers", NULL);
	CHECK(text != NULL);
	/* The last line may be in the middle of being written. */
	for (at = text, n = 2; strchr(at, '\n'); at = strchr(at, '\n') + 1, n++)
		if (strtoul(at, NULL, 10) != n)
			case_fail("number %lu is written as %.20s", n, at);
	CHECK(n > before);
	free(text);
}

/* ---- generations: children of children, one stopped, one ended, one in its own session ---- */

static pid_t grandchild_pid;

static void make_grandchild(void)
{
	grandchild_pid = case_child(NULL, NULL);
}

static void check_grandchild(void)
{
	CHECK_INT(kill(grandchild_pid, 0), 0);
	CHECK_INT(waitpid(grandchild_pid, NULL, WNOHANG), 0);
}

static void own_session(void)
{
	CHECK_CALL(setsid());
}

static void check_session(void)
{
	CHECK_INT(getsid(0), getpid());
}

static pid_t ended;

static void setup_generations(void)
{
	case_child(make_grandchild, check_grandchild);
	case_child(own_session, check_session);
	ended = CHECK_CALL(fork());
	if (ended == 0)
		_exit(33);
	CHECK(EVENTUALLY(test_proc_state(ended, NULL) == 'Z'));
}

static void check_generations(void)
{
	int status;

	CHECK_INT(waitpid(ended, &status, 0), ended);
	CHECK_INT(WEXITSTATUS(status), 33);
}

/* ---- crowds ---- */

static struct act *crowd;
static size_t n_crowd;

static void be_one_of_many(struct act *a)
{
	char name[16], is[16];

	if (!a->own[0]) {
		a->own[0] = 1 + random();
		snprintf(name, sizeof(name), "t%ld", a->own[0] % 1000000);
		CHECK(!pthread_setname_np(pthread_self(), name));
	}
	test_sleep_ms(20 + a->own[0] % 30);
	snprintf(name, sizeof(name), "t%ld", a->own[0] % 1000000);
	CHECK(!pthread_getname_np(pthread_self(), is, sizeof(is)));
	CHECK_TEXT(is, name);
}

static void make_crowd(size_t n)
{
	crowd = calloc(n, sizeof(*crowd));
	n_crowd = n;
	CHECK(crowd);
	for (size_t i = 0; i < n; i++) {
		crowd[i].name = "one of many";
		crowd[i].once = be_one_of_many;
	}
	act_start(crowd, n);
}

static void setup_100(void)
{
	make_crowd(100);
}

static void setup_500(void)
{
	make_crowd(500);
}

static void check_crowd(void)
{
	act_end(crowd, n_crowd);
}

#define FLAGS (CASE_INSIDE | CASE_LOSSY)
CASES({ "what goes around between processes is there once", setup_ring, check_ring,
	.flags = FLAGS | CASE_MANY },
      { "children, grandchildren and the dead stay who they are", setup_generations,
	check_generations, .flags = CASE_INSIDE },
      { "a hundred threads go on", setup_100, check_crowd, .flags = FLAGS | CASE_MANY },
      { "five hundred threads go on", setup_500, check_crowd, .flags = FLAGS })
