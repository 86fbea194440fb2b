/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills ckpt-signal, which asks a program with the preloaded library, at its n-th system call and
 * at random instants: the program must not notice, not even by an interrupted wait, no image may be
 * there that does not verify, and no process of ours. $KILL_ROUNDS: kills per sort of victim; 0: at
 * every call.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static unsigned long n_kills, n_images, n_harmed;

/* How the program fares after a checkpoint: every other one is asked for with --stop. */
static const struct way {
	const char *name, *option;
	bool ends;
} ways[] = {
	{ "with a copy", "--snapshot", false },
	{ "standing still", "--stop", false },
	{ "to the end", "--kill", true },
};

static char **request(struct fault *f, const struct way *w)
{
	static char *argv[8], pid[16];

	snprintf(pid, sizeof(pid), "%d", f->pid);
	argv[0] = (char *)f->inside->requester;
	argv[1] = "-D";
	argv[2] = f->img;
	argv[3] = (char *)w->option;
	argv[4] = pid;
	argv[5] = NULL;
	unlink(f->out);
	return argv;
}

/* Copies of the program that nobody reads any more. */
static bool has_copy(void)
{
	pid_t v[256];
	size_t n;
	bool found = false;

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	n = test_descendants(v, ARRAY_SIZE(v));
	for (size_t i = 0; i < n && !found; i++) {
		char *name = test_status(v[i], "Name");

		found = name && !strncmp(name, "ckpt-", 5) && test_proc_state(v[i], NULL) != 'Z';
		free(name);
	}
	return found;
}

/* After a kill. */
static void look(struct fault *f, const char *what, bool ends)
{
	n_kills++;
	if (fault_has_image(f)) {
		n_images++;
		if (fault_ckpt(f, "verify", NULL, NULL))
			fault_failed(f, "%s: %s leaves an image that does not verify", f->sort,
				     what);
		fault_remove_image(f);
		if (ends) {
			/* Committed: it may be killed any time now. */
			fault_start(f, f->sort);
			return;
		}
	}
	n_harmed += !fault_still_well(f, what);
	if (!EVENTUALLY(!has_copy()))
		fault_failed(f, "%s: a copy is left after %s", f->sort, what);
}

static void kill_at_call(struct fault *f, long n, const struct way *w)
{
	struct step s = { .kill_at = n, .timeout_ms = 30000 };
	char what[100];

	if (!step_run(&s, request(f, w), f->out) || s.timed_out) {
		fault_failed(f, "%s: the request to be killed at %ld does not end", f->sort, n);
		return;
	}
	snprintf(what, sizeof(what), "kill at stop %ld of a checkpoint %s (call %ld)", n, w->name,
		 s.nr);
	look(f, what, w->ends);
}

static void kill_at_random(struct fault *f, unsigned int *seed, long most_us, const struct way *w)
{
	long us = rand_r(seed) % most_us;
	pid_t pid = test_spawn(request(f, w), f->out, "/");
	char what[100];

	usleep(us);
	kill(pid, SIGKILL);
	test_wait(pid, test_wait_ms());
	snprintf(what, sizeof(what), "kill of a checkpoint %s after %ld us", w->name, us);
	look(f, what, w->ends);
}

/* Stops of a whole request; 0 on failure. DURATION: in us, untraced. */
static long measure(struct fault *f, long *duration, const struct way *w)
{
	struct step s = { .timeout_ms = 30000 };
	int64_t start;
	int status;

	if (!step_run(&s, request(f, w), f->out) || s.status) {
		fault_failed(f, "%s: a checkpoint %s under a tracer fails (status %x)", f->sort,
			     w->name, s.status);
		return 0;
	}
	fault_remove_image(f);
	start = test_now_ns();
	status = test_run(request(f, w), f->out, "/", 60000);
	*duration = (test_now_ns() - start) / 1000;
	fault_remove_image(f);
	if (status) {
		fault_failed(f, "%s: a checkpoint %s fails (status %d)", f->sort, w->name, status);
		return 0;
	}
	return fault_still_well(f, "a whole checkpoint") ? s.n_stops : 0;
}

static void torment(struct fault *f, const char *sort, long rounds)
{
	unsigned int seed = 1 + sort[0];
	long n_stops, duration = 1, step;

	if (!fault_start(f, sort))
		return;
	for (size_t i = 0; i < 2; i++) {
		n_stops = measure(f, &duration, &ways[i]);
		if (!n_stops)
			return;
		step = rounds > 0 && n_stops > rounds ? n_stops / rounds : 1;
		/* From a different start for each sort, so that together they meet more calls. */
		for (long n = 1 + (step > 1 ? rand_r(&seed) % step : 0);
		     n <= n_stops && f->pid && f->n_failed < 10; n += step)
			kill_at_call(f, n, n / step % 4 == 3 ? &ways[2] : &ways[i]);
		for (long n = 0; n < (rounds > 0 ? rounds : n_stops) && f->pid && f->n_failed < 10;
		     n++)
			kill_at_random(f, &seed, duration, &ways[i]);
		printf("# %s, %s: %ld stops, %ld us\n", sort, ways[i].name, n_stops, duration);
	}
	if (f->pid && test_run(request(f, &ways[0]), f->out, "/", 60000))
		fault_failed(f, "%s: no checkpoint after all of that", sort);
	if (!fault_has_image(f) || fault_n_files(f) > 2)
		fault_failed(f, "%s: %d files after a whole checkpoint: leftovers of others stay",
			     sort, fault_n_files(f));
	fault_remove_image(f);
}

int main(int argc, char **argv)
{
	struct inside inside;
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	if (!inside_find(&inside, f.ckpt)) {
		printf("skip - libckpt-inproc.so or ckpt-signal is not built\n");
		return 77;
	}
	f.inside = &inside;
	for (int i = 0; victim_sorts[i]; i++)
		if (argc < 2 || !strcmp(argv[1], victim_sorts[i]))
			torment(&f, victim_sorts[i], fault_setting("KILL_ROUNDS", 10));
	snprintf(summary, sizeof(summary),
		 "%lu requesters killed, %lu programs harmed, %lu images left, all whole", n_kills,
		 n_harmed, n_images);
	return fault_end(&f, summary);
}
