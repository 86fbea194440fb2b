/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets the n-th system call of a dump fail: it either gets by or fails with one sentence; the
 * program goes on, no image is left of a failed one. $FAIL_ROUNDS: failures per error number; 0:
 * every call.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static const int errors[] = { ENOSPC, EIO, ENOMEM, EPERM };
static unsigned long n_failures, n_refused;

/* What takes files away again: if just that fails, they stay. So they do where there is no memory
 * for a sanitizer, which ends the program. */
static bool cleans_up(long nr)
{
#ifdef __SANITIZE_ADDRESS__
	if (nr == SYS_mmap)
		return true;
#endif
	return nr == SYS_unlink || nr == SYS_unlinkat || nr == SYS_rmdir;
}

/* A sanitizer, of a call of its own: not a word about ckpt. */
static bool gave_up(const char *said)
{
	return said && strstr(said, "AddressSanitizer: CHECK failed");
}

static void look(struct fault *f, const struct step *s, const char *what)
{
	int code = WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1;
	char *said = test_read(f->out, NULL);

	if (code < 0)
		fault_failed(f, "%s: ckpt is killed by signal %d: %s", f->sort, WTERMSIG(s->status),
			     what);
	if (code == 0 && fault_ckpt(f, "verify", NULL, NULL))
		fault_failed(f, "%s: success without a good image: %s", f->sort, what);
	if (code > 0 && !gave_up(said)) {
		n_refused++;
		if (fault_has_image(f))
			fault_failed(f, "%s: an image is left: %s", f->sort, what);
		else if (fault_n_files(f) && !cleans_up(s->nr))
			fault_failed(f, "%s: %d files are left: %s", f->sort, fault_n_files(f),
				     what);
		/* 127: the dynamic loader gave up. Nothing can be said if just that fails. */
		if (code != 127 && s->nr != SYS_write && s->nr != SYS_writev && (!said || !*said))
			fault_failed(f, "%s: fails without a word: %s", f->sort, what);
	}
	free(said);
	fault_remove_image(f);
	fault_still_well(f, what);
	if (f->heart->interrupted)
		fault_failed(f, "%s: a wait is interrupted: %s", f->sort, what);
	f->heart->interrupted = 0;
	f->heart->tolerant = 1;
}

static void fail_at(struct fault *f, long n, int error)
{
	struct step s = { .fail_at = n, .error = error, .timeout_ms = 30000, .attended = true };
	char what[100];

	if (!step_run(&s, fault_argv(f, "dump", fault_pid(f), "-R"), f->out)) {
		fault_failed(f, "%s: cannot be traced", f->sort);
		return;
	}
	n_failures++;
	snprintf(what, sizeof(what), "call %ld (number %ld) failing with %s", n, s.nr,
		 strerrorname_np(error));
	if (s.timed_out) {
		fault_failed(f, "%s: does not end: %s", f->sort, what);
		fault_remove_image(f);
		fault_still_well(f, what);
		return;
	}
	look(f, &s, what);
}

static void torment(struct fault *f, const char *sort, long rounds)
{
	struct step s = { .timeout_ms = 30000, .attended = true };

	if (!fault_start(f, sort))
		return;
	if (!step_run(&s, fault_argv(f, "dump", fault_pid(f), "-R"), f->out) || s.status) {
		fault_failed(f, "%s: a dump under a tracer fails (status %x)", sort, s.status);
		return;
	}
	fault_remove_image(f);
	f->heart->tolerant = 1;
	for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
		long step = rounds > 0 && s.n_calls > rounds ? s.n_calls / rounds : 1;

		for (long n = 1 + (long)e * 7 % step; n <= s.n_calls && f->pid && f->n_failed < 20;
		     n += step)
			fail_at(f, n, errors[e]);
	}
	printf("# %s: %ld calls\n", sort, s.n_calls);
}

int main(int argc, char **argv)
{
	long rounds = fault_setting("FAIL_ROUNDS", 8);
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	torment(&f, "many", rounds);
	torment(&f, "tree", rounds);
	snprintf(summary, sizeof(summary), "%lu failing calls in dumps, %lu of them reported",
		 n_failures, n_refused);
	return fault_end(&f, summary);
}
