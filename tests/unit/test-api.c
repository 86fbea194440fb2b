/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API of the preloaded library: hooks in their order, exclusions, critical sections, failures.
 * Its source is a part of this program, with a stand-in for the one function that parks threads.
 */
#include <pthread.h>
#include <sys/wait.h>
#include "libinproc/api.c"
#include "tests/lib/tap.h"

struct ckpt_config ckpt_config = { .on = true, .signal = CKPT_SIGNAL_DEFAULT };
static int n_taken, answer = CKPT_TAKEN;

int ckpt_checkpoint_now(void)
{
	n_taken++;
	if (answer == -EIO)
		ckpt_set_error("dump: disk: cannot write", 24);
	return answer;
}

/* Who asked would do so now. */
void ckpt_give_way(void)
{
	n_taken++;
}

static char order[200];

static int note(enum ckpt_event event, void *arg)
{
	size_t len = strlen(order);

	snprintf(order + len, sizeof(order) - len, "%d%s ", event, (char *)arg);
	return 0;
}

static int say_no(enum ckpt_event event, void *arg)
{
	note(event, arg);
	return -7;
}

static int ask_again(enum ckpt_event event, void *arg)
{
	(void)event;
	*(int *)arg = ckpt_now();
	errno = ENOTTY;
	return 0;
}

static void test_hooks(void)
{
	int again = 0;

	ok(!ckpt_has_hooks(), "no hooks at first");
	is(ckpt_run_hooks(CKPT_HOOK_BEFORE), 0, "no hook refuses nothing");
	is(ckpt_on(CKPT_BEFORE, NULL, NULL), -EINVAL, "a hook that is none");
	is(ckpt_on((enum ckpt_event)7, note, NULL), -EINVAL, "an event that is none");
	for (enum ckpt_event e = CKPT_BEFORE; e <= CKPT_ON_RESTORE; e++) {
		is(ckpt_on(e, note, "a"), 0, "a hook");
		is(ckpt_on(e, note, "b"), 0, "the same with another argument");
		is(ckpt_on(e, note, "b"), 0, "once more is no other one");
	}
	ok(ckpt_has_hooks(), "there are hooks");
	order[0] = 0;
	is(ckpt_run_hooks(CKPT_HOOK_BEFORE), 0, "all agree");
	is_text(order, "0a 0b ", "before: in the order of registration");
	order[0] = 0;
	ckpt_run_hooks(CKPT_HOOK_AFTER);
	is_text(order, "1b 1a ", "after: in reverse order");
	order[0] = 0;
	ckpt_run_hooks(CKPT_HOOK_RESTORED);
	is_text(order, "2b 2a ", "restored: in reverse order");
	is(ckpt_on(CKPT_AFTER, ask_again, &again), 0, "a hook that asks for a checkpoint");
	errno = EXDEV;
	ckpt_run_hooks(CKPT_HOOK_AFTER);
	is(errno, EXDEV, "errno is kept");
	is(again, -EDEADLK, "a hook is not given a checkpoint");
	is(n_taken, 0, "and none is tried");
	is(ckpt_on(CKPT_BEFORE, say_no, "n"), 0, "a hook that says no");
	is(ckpt_on(CKPT_BEFORE, note, "z"), 0, "and one behind it");
	order[0] = 0;
	is(ckpt_run_hooks(CKPT_HOOK_BEFORE), -7, "its answer is passed on");
	is_text(order, "0a 0b 0n ", "those behind it are not asked");
}

static void test_hooks_full(void)
{
	static char args[N_HOOKS];
	int n = 0;

	while (n < N_HOOKS && ckpt_on(CKPT_AFTER, note, args + n) == 0)
		n++;
	is(n_given(), N_HOOKS, "as many hooks as there is room for");
	is(ckpt_on(CKPT_AFTER, note, args + n), -ENOSPC, "one too many");
	is(ckpt_on(CKPT_AFTER, note, args), 0, "one that is there already");
}

static void test_ranges(void)
{
	struct ckpt_wire_range r[N_RANGES + 1];
	char *at = (char *)0x10000;

	is(ckpt_excluded(r, N_RANGES), 0, "nothing is excluded at first");
	is(ckpt_exclude(at, 0), -EINVAL, "nothing cannot be excluded");
	is(ckpt_exclude(NULL, 4096), -EINVAL, "nor NULL");
	is(ckpt_exclude(at, SIZE_MAX), -EINVAL, "nor more than there is");
	is(ckpt_exclude(at + 1, 8192), 0, "a range");
	is(ckpt_exclude(at + 20480, 100), 0, "a range without a whole page");
	is(ckpt_excluded(r, N_RANGES), 1, "only whole pages count");
	is(r[0].start, 0x11000, "from the first whole page");
	is(r[0].len, 4096, "to the end of the last one");
	is(ckpt_include(at + 1, 4096), -ENOENT, "another range is not there");
	is(ckpt_include(at + 1, 8192), 0, "a range is taken back");
	is(ckpt_include(at + 1, 8192), -ENOENT, "once");
	is(ckpt_include(at + 20480, 100), 0, "the small one, too");
	is(ckpt_excluded(r, N_RANGES), 0, "nothing is excluded");
	for (int i = 0; i < N_RANGES; i++)
		if (ckpt_exclude(at + i * 8192, 4096))
			ok(false, "range %d", i);
	is(ckpt_exclude(at, 4096), -ENOSPC, "one too many");
	is(ckpt_excluded(r, 10), 10, "no more than asked for");
	is(ckpt_excluded(r, N_RANGES), N_RANGES, "all");
	for (int i = 0; i < N_RANGES; i++)
		if (ckpt_include(at + i * 8192, 4096))
			ok(false, "range %d", i);
	is(ckpt_excluded(r, N_RANGES), 0, "and none");
}

static int turns[2];

static void *exclude_often(void *arg)
{
	char *mine_at = (char *)0x100000 + 4096 * *(int *)arg;

	for (int i = 0; i < 20000; i++)
		if (ckpt_exclude(mine_at, 4096) == 0 && ckpt_include(mine_at, 4096) == 0)
			turns[*(int *)arg]++;
	return NULL;
}

static void test_ranges_threads(void)
{
	struct ckpt_wire_range r[4];
	int which[2] = { 0, 1 };
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		must(!pthread_create(&t[i], NULL, exclude_often, &which[i]), "a thread");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	is(turns[0] + turns[1], 40000, "threads do not lose each other's ranges");
	is(ckpt_excluded(r, 4), 0, "and leave none");
}

static int in_fork(bool (*test)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(test() ? 7 : 8);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void *fork_beside(void *result)
{
	*(int *)result = in_fork(ckpt_is_disabled);
	return NULL;
}

static void test_disable(void)
{
	int result = 0;
	pthread_t t;

	ckpt_enable();
	ok(!ckpt_is_disabled(), "one ckpt_enable() too many is ignored");
	ckpt_disable();
	ckpt_disable();
	ckpt_enable();
	ok(ckpt_is_disabled(), "they nest");
	is(ckpt_now(), -EBUSY, "no checkpoint in between");
	ok(strstr(ckpt_error(), "ckpt_disable"), "and why: %s", ckpt_error());
	is(in_fork(ckpt_is_disabled), 7, "a section goes on in the child of its own thread");
	pthread_create(&t, NULL, fork_beside, &result);
	pthread_join(t, NULL);
	is(result, 8, "and not in that of another");
	n_taken = 0;
	ckpt_enable();
	ok(!ckpt_is_disabled(), "and end");
	is(n_taken, 0, "nobody had asked");
	ckpt_disable();
	ckpt_disabled_note();
	is(n_taken, 0, "a request waits");
	ckpt_enable();
	is(n_taken, 1, "until the end of the section");
	ckpt_disable();
	ckpt_enable();
	is(n_taken, 1, "once");
}

static void test_now(void)
{
	char much[2000];

	answer = CKPT_TAKEN;
	is(ckpt_now(), CKPT_TAKEN, "a checkpoint");
	is_text(ckpt_error(), "", "without failure");
	answer = -EIO;
	is(ckpt_now(), -EIO, "a failure");
	is_text(ckpt_error(), "dump: disk: cannot write", "and why");
	answer = -ENOENT;
	is(ckpt_now(), -ENOENT, "a failure without a reason");
	ok(ckpt_error()[0], "has one: %s", ckpt_error());
	answer = CKPT_RESTORED;
	is(ckpt_now(), CKPT_RESTORED, "in the restored program");
	is_text(ckpt_error(), "", "without failure");
	memset(much, 'x', sizeof(much));
	ckpt_set_error(much, sizeof(much));
	is(strlen(ckpt_error()), 511, "a long reason is cut");
	ckpt_config.on = false;
	is(ckpt_now(), -ENOTSUP, "a library that is not active");
	ok(ckpt_error()[0], "says so: %s", ckpt_error());
	ckpt_config.on = true;
}

int main(void)
{
	test_now();
	n_taken = 0;
	test_hooks();
	test_hooks_full();
	test_ranges();
	test_ranges_threads();
	test_disable();
	return tap_end();
}
