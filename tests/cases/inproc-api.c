/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program says about its own checkpoints (ckpt.h). Told of programs with the library; in a
 * dry run its functions are not there, which is a part of the promise, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libinproc/ckpt.h"
#include "tests/lib/act.h"

static void need_library(void)
{
	if (!ckpt_available())
		case_skip("the library is not there");
}

/* ---- hooks ---- */

static char order[4096];
static volatile bool others_run;
static unsigned long beats; /* of two threads: one of them may be who runs the hooks */
static pid_t hook_tid;

static int note(enum ckpt_event event, void *arg)
{
	static const char names[] = "bar";
	char word[8] = { names[event], *(char *)arg, ' ', 0 };

	strncat(order, word, sizeof(order) - strlen(order) - 1);
	hook_tid = gettid();
	return 0;
}

/* BEFORE, the other threads run. */
static int look_at_others(enum ckpt_event event, void *arg)
{
	unsigned long before = __atomic_load_n(&beats, __ATOMIC_RELAXED);

	(void)arg;
	for (int i = 0; i < 2000 && __atomic_load_n(&beats, __ATOMIC_RELAXED) == before; i++)
		usleep(1000);
	if (event == CKPT_BEFORE)
		others_run = __atomic_load_n(&beats, __ATOMIC_RELAXED) != before;
	return 0;
}

static void *beat(void *arg)
{
	while (!act_is_over()) {
		__atomic_add_fetch(&beats, 1, __ATOMIC_RELAXED);
		usleep(200);
	}
	return arg;
}

static void setup_hooks(void)
{
	pthread_t t[2];

	need_library();
	for (enum ckpt_event e = CKPT_BEFORE; e <= CKPT_ON_RESTORE; e++) {
		CHECK_INT(ckpt_on(e, note, "1"), 0);
		CHECK_INT(ckpt_on(e, note, "2"), 0);
	}
	CHECK_INT(ckpt_on(CKPT_BEFORE, look_at_others, NULL), 0);
	/* Two: one of them may be who leads. */
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, beat, NULL));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, beat, NULL));
}

static void check_hooks_running(void)
{
	CHECK(others_run);
	CHECK(hook_tid == getpid() || hook_tid > 0);
	/* One checkpoint after the other, each whole. */
	for (const char *at = order; *at; at += 12)
		if (strncmp(at, "b1 b2 a2 a1 ", 12))
			case_fail("the order is %.60s", order);
	CHECK(order[0]);
}

static void check_hooks_restored(void)
{
	CHECK(others_run);
	for (const char *at = order; *at; at += 12)
		if (strncmp(at, "b1 b2 r2 r1 ", 12))
			case_fail("the order is %.60s", order);
	CHECK(order[0]);
}

static int refuse(enum ckpt_event event, void *arg)
{
	(void)event, (void)arg;
	return -41;
}

static void setup_refusing(void)
{
	need_library();
	CHECK_INT(ckpt_on(CKPT_BEFORE, note, "1"), 0);
	CHECK_INT(ckpt_on(CKPT_BEFORE, refuse, NULL), 0);
	CHECK_INT(ckpt_on(CKPT_AFTER, note, "1"), 0);
}

static void check_refusing(void)
{
	CHECK_TEXT(order, "b1 a1 ");
	CHECK(ckpt_now() < 0);
	CHECK(strstr(ckpt_error(), "CKPT-E0114") || strstr(ckpt_error(), "-41"));
	CHECK_TEXT(order, "b1 a1 b1 a1 ");
}

/* ---- a critical section ---- */

static void setup_disabled(void)
{
	need_library();
	ckpt_disable();
}

static void check_disabled(void)
{
	CHECK_INT(ckpt_now(), -EBUSY);
	ckpt_enable();
	CHECK_INT(ckpt_now(), CKPT_TAKEN);
}

/* One that is short: requests wait for its end. */
static void in_and_out(struct act *a)
{
	(void)a;
	ckpt_disable();
	test_sleep_ms(30);
	ckpt_enable();
	test_sleep_ms(60);
}

static struct act sections[] = { { "sections", in_and_out } };

static void setup_sections(void)
{
	need_library();
	act_start(sections, 1);
}

static void check_sections(void)
{
	act_end(sections, 1);
}

/* ---- memory that is left out ---- */

#define LEN (1 << 20)
static unsigned char *left_out, *kept;

static void setup_exclude(void)
{
	need_library();
	left_out = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	kept = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(left_out != MAP_FAILED && kept != MAP_FAILED);
	memset(left_out, 7, LEN);
	memset(kept, 8, LEN);
	/* Not the first and the last page. */
	CHECK_INT(ckpt_exclude(left_out + 1, LEN - 2), 0);
	CHECK_INT(ckpt_exclude(kept, LEN), 0);
	CHECK_INT(ckpt_include(kept, LEN), 0);
	CHECK_INT(ckpt_include(kept, LEN), -ENOENT);
}

static void check_exclude_running(void)
{
	for (int i = 0; i < LEN; i++)
		CHECK_INT(left_out[i], 7);
	for (int i = 0; i < LEN; i++)
		CHECK_INT(kept[i], 8);
}

static void check_exclude_restored(void)
{
	for (int i = 0; i < LEN; i++)
		CHECK_INT(left_out[i], i < 4096 || i >= LEN - 4096 ? 7 : 0);
	for (int i = 0; i < LEN; i++)
		CHECK_INT(kept[i], 8);
	memset(left_out, 9, LEN);
	CHECK_INT(left_out[LEN / 2], 9);
}

/* ---- asking for it ---- */

static int status_file;
static volatile int n_now;

static void do_now(struct act *a)
{
	int r = ckpt_now();

	if (r != CKPT_TAKEN && r != CKPT_RESTORED)
		case_fail("%s: %d: %s", a->name, r, ckpt_error());
	n_now++;
	test_sleep_ms(40);
}

static void do_sleep(struct act *a)
{
	struct act_clock c = act_clock();

	test_sleep_ms(20);
	act_took(&c, a->name, 20);
}

static struct act askers[] = { { "ckpt_now", do_now }, { "sleeping", do_sleep } };

static void take_one(void)
{
	int r = ckpt_now();

	if (r != CKPT_TAKEN)
		case_fail("ckpt_now() is %d: %s", r, ckpt_error());
}

static bool is_sleep(pid_t pid)
{
	char *name = test_status(pid, "Name");
	bool yes = name && !strcmp(name, "sleep");

	free(name);
	return yes;
}

/* The engine gives up before it has asked: a child has no library. */
static void fail_before_it_is_reached(void)
{
	char *const argv[] = { "sleep", "100", NULL }, *const env[] = { "CKPT_SIGNAL=0", NULL };
	pid_t child = CHECK_CALL(fork());

	if (!child) {
		execve("/bin/sleep", argv, env);
		_exit(127);
	}
	CHECK(EVENTUALLY(is_sleep(child)));
	CHECK_INT(ckpt_now(), -EIO);
	if (!strstr(ckpt_error(), "CKPT-E") || !strstr(ckpt_error(), "ckpt's library"))
		case_fail("ckpt_error() is \"%s\"", ckpt_error());
	CHECK_CALL(kill(child, SIGKILL));
	CHECK_INT(waitpid(child, NULL, 0), child);
	take_one();
	CHECK_TEXT(ckpt_error(), "");
}

static void setup_now(void)
{
	need_library();
	take_one();
	CHECK_TEXT(ckpt_error(), "");
	fail_before_it_is_reached();
	/* And nothing is left of it. */
	CHECK_INT(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	CHECK_INT(errno, ECHILD);
	status_file = CHECK_CALL(open("/dev/null", O_RDONLY));
	CHECK_INT(status_file, 3);
	take_one();
}

static void check_now(void)
{
	take_one();
}

static void setup_askers(void)
{
	need_library();
	act_start(askers, ARRAY_SIZE(askers));
}

static void check_askers(void)
{
	int before = n_now;

	CHECK(EVENTUALLY(n_now > before + 2));
	act_end(askers, ARRAY_SIZE(askers));
}

/* A plain signal, as kill(1) sends it: an image appears, the program sees nothing. */
static char *own_folder(void)
{
	return test_text("%s/ckpt.000001/image", getenv("CKPT_DIR"));
}

static void setup_plain(void)
{
	char *path;

	need_library();
	path = own_folder();
	CHECK_CALL(kill(getpid(), 64));
	CHECK(EVENTUALLY(access(path, R_OK) == 0));
	free(path);
	CHECK_INT(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	CHECK_INT(errno, ECHILD);
}

/* In a critical section it waits for the end. */
static void check_plain(void)
{
	char *path = test_text("%s/ckpt.000002/image", getenv("CKPT_DIR"));

	ckpt_disable();
	CHECK_CALL(kill(getpid(), 64));
	test_sleep_ms(300);
	CHECK(access(path, R_OK) < 0);
	ckpt_enable();
	CHECK(EVENTUALLY(access(path, R_OK) == 0));
	free(path);
}

#define FLAGS CASE_INSIDE
CASES({ "hooks are called in their order where the program goes on", setup_hooks,
	check_hooks_running, .flags = FLAGS | CASE_STAYS | CASE_MANY | CASE_LOSSY },
      { "hooks are called in their order where it is restored", setup_hooks, check_hooks_restored,
	.flags = FLAGS | CASE_GOES | CASE_LOSSY },
      { "a hook refuses", setup_refusing, check_refusing, .flags = FLAGS | CASE_LOSSY,
	.refused = { "CKPT-E0114", "-41" } },
      { "no checkpoint in a critical section", setup_disabled, check_disabled,
	.flags = FLAGS | CASE_LOSSY, .refused = { "CKPT-E0111" } },
      { "a request waits for the end of a short critical section", setup_sections, check_sections,
	.flags = FLAGS | CASE_MANY | CASE_LOSSY },
      { "memory that is left out stays where the program goes on", setup_exclude,
	check_exclude_running, .flags = FLAGS | CASE_STAYS },
      { "memory that is left out comes back as zeros", setup_exclude, check_exclude_restored,
	.flags = FLAGS | CASE_GOES | CASE_ONCE | CASE_LOSSY },
      { "a program asks for checkpoints", setup_now, check_now, .flags = FLAGS },
      { "a program asks while it is asked", setup_askers, check_askers,
	.flags = FLAGS | CASE_LOSSY },
      { "the signal alone takes a checkpoint", setup_plain, check_plain, .flags = FLAGS })
