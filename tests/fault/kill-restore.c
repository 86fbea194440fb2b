/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills ckpt, or lets a system call of it fail, in the middle of a restore: either the whole tree
 * runs, or no process is left of it; the image stays good. $KILL_ROUNDS: of each; 0: at every call.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static unsigned long n_hits, n_running;

/* A killed restore may have been decided already. */
static void look(struct fault *f, const char *what, bool must_run, bool must_not)
{
	char why[300];
	pid_t v[64];
	size_t n;

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	n_hits++;
	n = test_descendants(v, ARRAY_SIZE(v));
	if (n && !must_not && victim_well(f->heart, 0, why, sizeof(why))) {
		n_running++;
	} else if (must_run) {
		fault_failed(f, "%s: done, but the program does not run: %s", f->sort, what);
	} else {
		bool none = EVENTUALLY((waitpid(-1, NULL, WNOHANG | __WALL),
					test_descendants(v, ARRAY_SIZE(v)) == 0));

		if (!none) {
			char *wchan = test_text("/proc/%d/wchan", v[0]),
			     *text = test_read(wchan, NULL);
			char *name = test_status(v[0], "Name"),
			     *tracer = test_status(v[0], "TracerPid");

			fault_failed(
				f, "%s: %zu processes are left (%d %s, %c in %s, traced by %s): %s",
				f->sort, test_descendants(v, ARRAY_SIZE(v)), v[0], name,
				test_proc_state(v[0], NULL), text, tracer, what);
			free(wchan);
			free(text);
			free(name);
			free(tracer);
		}
	}
	if (f->heart->failed) {
		fault_failed(f, "%s: %s: %.200s", f->sort, what, f->heart->text);
		f->heart->failed = 0;
	}
	test_end_descendants();
}

static void kill_at(struct fault *f, long n)
{
	struct step s = { .kill_at = n, .timeout_ms = 30000 };
	char what[100];

	if (!step_run(&s, fault_argv(f, "restore", "-d", NULL), f->out) || s.timed_out)
		fault_failed(f, "%s: the restore to be killed at %ld does not end", f->sort, n);
	snprintf(what, sizeof(what), "kill at stop %ld of restore (call %ld)", n, s.nr);
	look(f, what, WIFEXITED(s.status) && WEXITSTATUS(s.status) == 0, false);
}

static void fail_at(struct fault *f, long n, int error)
{
	struct step s = { .fail_at = n, .error = error, .timeout_ms = 30000 };
	bool run = step_run(&s, fault_argv(f, "restore", "-d", NULL), f->out);
	char what[100];

	snprintf(what, sizeof(what), "call %ld (number %ld) of restore failing with %s", n, s.nr,
		 strerrorname_np(error));
	if (!run || s.timed_out)
		fault_failed(f, "%s: does not end: %s", f->sort, what);
	else if (WIFSIGNALED(s.status))
		fault_failed(f, "%s: ckpt is killed by signal %d: %s", f->sort, WTERMSIG(s.status),
			     what);
	look(f, what, WIFEXITED(s.status) && WEXITSTATUS(s.status) == 0,
	     WIFEXITED(s.status) && WEXITSTATUS(s.status) != 0);
}

static bool whole_restore(struct fault *f)
{
	char why[300];
	int status = fault_ckpt(f, "restore", "-d", NULL);
	bool well = status == 0 && victim_well(f->heart, 0, why, sizeof(why));

	if (!well)
		fault_failed(f, "%s: a restore fails (status %d): %s", f->sort, status,
			     status ? "" : why);
	test_end_descendants();
	return well;
}

static void torment(struct fault *f, const char *sort, long rounds)
{
	static const int errors[] = { ENOMEM, EPERM, EIO };
	struct step s = { .timeout_ms = 30000 };
	long step;

	if (!fault_start(f, sort))
		return;
	if (fault_ckpt(f, "dump", fault_pid(f), NULL)) {
		fault_failed(f, "%s: a dump fails", sort);
		return;
	}
	test_end_descendants();
	if (!whole_restore(f))
		return;
	if (!step_run(&s, fault_argv(f, "restore", "-d", NULL), f->out) || s.status) {
		fault_failed(f, "%s: a restore under a tracer fails (status %x)", sort, s.status);
		return;
	}
	look(f, "a traced restore", true, false);
	step = rounds > 0 && s.n_stops > rounds ? s.n_stops / rounds : 1;
	for (long n = 1; n <= s.n_stops && f->n_failed < 10; n += step)
		kill_at(f, n);
	for (size_t e = 0; e < ARRAY_SIZE(errors); e++)
		for (long n = 1 + (long)e; n <= s.n_calls && f->n_failed < 20; n += step)
			fail_at(f, n, errors[e]);
	if (fault_ckpt(f, "verify", NULL, NULL))
		fault_failed(f, "%s: the image is damaged", sort);
	whole_restore(f);
	fault_remove_image(f);
	printf("# %s: %ld stops\n", sort, s.n_stops);
}

int main(int argc, char **argv)
{
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	torment(&f, "sleep", fault_setting("KILL_ROUNDS", 15));
	torment(&f, "many", fault_setting("KILL_ROUNDS", 15));
	torment(&f, "tree", fault_setting("KILL_ROUNDS", 15));
	if (victim_can_dispatch())
		torment(&f, "dispatch", fault_setting("KILL_ROUNDS", 15));
	snprintf(summary, sizeof(summary),
		 "%lu restores killed or failing, %lu of them ran all the same", n_hits, n_running);
	return fault_end(&f, summary);
}
