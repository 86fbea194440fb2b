/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls in stopped threads: what they return, that a program does not notice any of it, and
 * that it survives the death of its tracer at any instant. An argument multiplies the rounds of the
 * last one, and takes it beyond ten seconds.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "injector/gadget.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "tests/lib/targets.h"

static int failed, n_tests;

static void report(bool ok, const char *name, const char *trouble)
{
	printf("%sok %d - %s%s%s\n", ok ? "" : "not ", ++n_tests, name, trouble ? ": " : "",
	       trouble ? trouble : "");
	fflush(stdout);
	failed |= !ok;
}

static void die(const struct ckpt_err *err)
{
	char text[1200];

	ckpt_err_sentence(err, text, sizeof(text));
	fprintf(stderr, "tracer: %s\n", text);
	_exit(3);
}

/* One freeze with calls by every thread. */
static void once(struct ckpt_source *src, struct ckpt_arena *arena, int n_calls,
		 struct ckpt_err *err)
{
	struct ckpt_frozen *f;
	size_t n;

	if (src->ops->freeze(src, arena, &f, &n, err) < 0)
		die(err);
	for (size_t i = 0; i < f[0].n_tids; i++) {
		if (i + 1 < f[0].n_tids)
			src->ops->call_soon(src, f[0].tids + i + 1, 1);
		for (int k = 0; k < n_calls; k++) {
			stack_t ss;
			struct ckpt_call gettid = { .nr = SYS_gettid, .buf_arg = -1 };
			struct ckpt_call stack = { .nr = SYS_sigaltstack,
						   .buf_arg = 1,
						   .buf = &ss,
						   .buf_len = sizeof(ss) };

			if (src->ops->call(src, f[0].tids[i], &gettid, err) < 0 ||
			    src->ops->call(src, f[0].tids[i], &stack, err) < 0)
				die(err);
			if (gettid.ret != f[0].tids[i] || stack.ret)
				_exit(4);
		}
	}
	src->ops->thaw(src);
}

static void trace(pid_t pid, int rounds, int n_calls, int ready)
{
	struct ckpt_ptrace_opts opts = { .timeout_s = 10 };

	for (int i = 0; i < rounds; i++) {
		struct ckpt_err err = CKPT_ERR_INIT;
		struct ckpt_arena *arena;
		struct ckpt_source *src;

		if (ckpt_arena_open(&arena, 64 << 20, &err) < 0 ||
		    ckpt_source_ptrace_open(&src, arena, pid, &opts, &err) < 0)
			die(&err);
		if (!i && write(ready, "x", 1) != 1)
			_exit(5);
		once(src, arena, n_calls, &err);
		ckpt_source_close(src);
		ckpt_arena_close(arena);
	}
}

static pid_t start_tracer(pid_t pid, int rounds, int n_calls)
{
	int ready[2];
	char c;
	pid_t tracer;

	if (pipe(ready))
		return -1;
	tracer = fork();
	if (!tracer) {
		trace(pid, rounds, n_calls, ready[1]);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		c = 0;
	close(ready[0]);
	return tracer;
}

static void test_unnoticed(const struct target *t, struct target_shared *sh, bool crowd, int rounds)
{
	pid_t pid = target_start(t, sh, crowd), tracer = start_tracer(pid, rounds, 3);
	const char *trouble;
	char name[100];
	int status;

	waitpid(tracer, &status, 0);
	trouble = status ? "the tracer failed" : target_trouble(pid, sh);
	snprintf(name, sizeof(name), "%s%s: stopped and called into %d times, it does not notice",
		 t->name, crowd ? " by several threads" : "", rounds);
	report(!trouble, name, trouble);
	target_end(pid, sh);
}

/* Interrupted calls may return EINTR here, seldom: when we die between the stop and what it takes
 * to hide it. */
static bool harmed(const char *trouble, const struct target_shared *sh)
{
	return trouble && !(sh->bad && strstr(sh->what, ": -4 "));
}

static void test_survives(const struct target *t, struct target_shared *sh, bool crowd, int rounds)
{
	int n_harmed = 0, n_failed = 0, n_eintr = 0;
	pid_t pid = target_start(t, sh, crowd);
	char name[160], last[300] = "";

	for (int i = 0; i < rounds; i++) {
		pid_t tracer = start_tracer(pid, 1000000, crowd ? 4 : 20);
		const char *trouble;
		int status;

		usleep(rand() % 4000);
		kill(tracer, SIGKILL);
		waitpid(tracer, &status, 0);
		n_failed += WIFEXITED(status);
		trouble = target_trouble(pid, sh);
		if (!trouble)
			continue;
		if (harmed(trouble, sh)) {
			n_harmed++;
			snprintf(last, sizeof(last), "%s", trouble);
		} else {
			n_eintr++;
		}
		target_end(pid, sh);
		pid = target_start(t, sh, crowd);
	}
	target_end(pid, sh);
	snprintf(
		name, sizeof(name),
		"%s%s: %d of %d harmed by the death of the tracer (%d saw EINTR, %d tracers gave up)",
		t->name, crowd ? " by several threads" : "", n_harmed, rounds, n_eintr, n_failed);
	report(!n_harmed && !n_failed, name, *last ? last : NULL);
}

static void test_gadgets(void)
{
	static const struct {
		const char *code;
		size_t n;
		int pops;
	} cases[] = {
		{ "\x0f\x05\xc3", 3, 0 },
		{ "\x0f\x05\x5b\xc3", 4, 8 },
		{ "\x0f\x05\x41\x5c\x5d\xc3", 6, 16 },
		{ "\x0f\x05\x48\x83\xc4\x18\x5b\xc3", 8, 32 },
		{ "\x0f\x05\x5c\xc3", 4, -1 },             /* pops the stack pointer */
		{ "\x0f\x05\xc9\xc3", 4, -1 },             /* leave */
		{ "\x0f\x05\x48\x83\xc4\xf8\xc3", 7, -1 }, /* a negative number */
		{ "\x0f\x05\x90\xc3", 4, -1 },
		{ "\x0f\x05", 2, -1 },
		{ "\x0f\x05\x5b", 3, -1 },
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok &= ckpt_gadget_call_at((const uint8_t *)cases[i].code, cases[i].n) ==
		      cases[i].pops;
	ok &= ckpt_gadget_restorer_at((const uint8_t *)"\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9);
	ok &= ckpt_gadget_restorer_at((const uint8_t *)"\xb8\x0f\0\0\0\x0f\x05", 7);
	ok &= !ckpt_gadget_restorer_at((const uint8_t *)"\xb8\x0e\0\0\0\x0f\x05", 7);
	report(ok, "code that can be used is told from other code", NULL);
}

int main(int argc, char **argv)
{
	int times = argc > 1 ? atoi(argv[1]) : 1;
	struct target_shared *sh = target_shared_new();
	const char *only = argc > 2 ? argv[2] : NULL;

	srand(getpid());
	test_gadgets();
	for (size_t i = 0; i < n_targets; i++) {
		if (only && strcmp(only, targets[i].name))
			continue;
		for (int crowd = 0; crowd < 2 - targets[i].alone; crowd++) {
			test_unnoticed(&targets[i], sh, crowd, 4 * times);
			test_survives(&targets[i], sh, crowd, 6 * times);
		}
	}
	printf("1..%d\n", n_tests);
	return failed;
}
