/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills ckpt in the middle of a dump, at its n-th system call and at random instants: the program
 * must not notice, and no image may be there that does not verify. $KILL_ROUNDS: kills per sort of
 * victim; 0: at every call.
 *
 * Waits that the kernel ends with EINTR when it stops a thread: ckpt, killed, has a child that puts
 * them right. If that child is killed as well there is a moment in which nobody can, between asking
 * such a thread to stop and its correction; mostly a processor wakes up meanwhile. One kill in two
 * hundred may meet it, and few more where there are few kills.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static unsigned long n_kills, n_images, n_harmed;
static unsigned long n_interrupted[2]; /* by kills of the child; of the process that was started */

/* Its child comes to us when it is dead, and so do copies of the victim. */
static void wait_for_orphans(struct fault *f)
{
	for (unsigned int ms = 0; ms < test_wait_ms(); ms++) {
		char *path = test_text("/proc/%d/task/%d/children", getpid(), getpid());
		char *all = test_read(path, NULL), *end = all;
		pid_t pid = 0;

		free(path);
		for (long n; all && (n = strtol(end, &end, 10)) > 0;)
			if (n != f->pid)
				pid = n;
		free(all);
		if (!pid)
			return;
		if (waitpid(pid, NULL, WNOHANG) != pid)
			usleep(1000);
	}
	fault_failed(f, "%s: a process of a killed dump stays", f->sort);
}

/* What it does not know of, and would never wait for. */
static bool has_zombie(const struct fault *f)
{
	pid_t v[256];
	size_t n = test_descendants_of(f->pid, v, 256);
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found |= test_proc_state(v[i], NULL) == 'Z';
	return found;
}

/* After a kill. True if the victim is fine where it has to be alive. */
static void look(struct fault *f, const char *what, bool leave_running, bool of_ckpt)
{
	char state;

	n_kills++;
	if (leave_running)
		wait_for_orphans(f);
	if (leave_running && !EVENTUALLY(!has_zombie(f)))
		fault_failed(f, "%s: %s leaves a child that nobody waits for", f->sort, what);
	if (fault_has_image(f)) {
		n_images++;
		if (fault_ckpt(f, "verify", NULL, NULL))
			fault_failed(f, "%s: %s leaves an image that does not verify", f->sort,
				     what);
		else if (!leave_running) {
			/* Committed: it may be killed any time now. */
			fault_remove_image(f);
			if (fault_start(f, f->sort))
				f->heart->tolerant = 1;
			return;
		}
		fault_remove_image(f);
	}
	/* What is left of the image otherwise is for the next dump to clean up. */
	state = test_proc_state(f->pid, NULL);
	if (state == 't' && !EVENTUALLY(test_proc_state(f->pid, NULL) != 't'))
		fault_failed(f, "%s: stays stopped after %s", f->sort, what);
	n_harmed += !fault_still_well(f, what);
	if (f->pid && !EVENTUALLY(!fault_has_userfaultfd(f->pid)))
		fault_failed(f, "%s: a descriptor is left in it after %s", f->sort, what);
	n_interrupted[of_ckpt] += f->heart->interrupted;
	f->heart->interrupted = 0;
	f->heart->tolerant = 1;
}

static void kill_at_call(struct fault *f, long n, bool leave_running, bool of_ckpt)
{
	struct step s = { .kill_at = n,
			  .timeout_ms = 30000,
			  .attended = true,
			  .kill_attendant = of_ckpt };
	char what[100];

	if (!step_run(&s, fault_argv(f, "dump", fault_pid(f), leave_running ? "-R" : NULL),
		      f->out) ||
	    s.timed_out) {
		fault_failed(f, "%s: the dump to be killed at %ld does not end", f->sort, n);
		return;
	}
	snprintf(what, sizeof(what), "kill %sat stop %ld of %s (call %ld)",
		 of_ckpt ? "" : "of the child ", n, leave_running ? "dump -R" : "dump", s.nr);
	look(f, what, leave_running, of_ckpt);
}

static void kill_at_random(struct fault *f, unsigned int *seed, long most_us)
{
	long us = rand_r(seed) % most_us;
	pid_t pid = test_spawn(fault_argv(f, "dump", fault_pid(f), "-R"), f->out, "/");
	char what[100];

	usleep(us);
	kill(pid, SIGKILL);
	test_wait(pid, test_wait_ms());
	snprintf(what, sizeof(what), "kill of dump -R after %ld us", us);
	look(f, what, true, true);
}

/* Stops of a whole dump; 0 on failure. DURATION: in us, untraced. */
static long measure(struct fault *f, long *duration)
{
	struct step s = { .timeout_ms = 30000, .attended = true };
	int64_t start;
	int status;

	if (!step_run(&s, fault_argv(f, "dump", fault_pid(f), "-R"), f->out) || s.status) {
		fault_failed(f, "%s: a dump under a tracer fails (status %x)", f->sort, s.status);
		return 0;
	}
	fault_remove_image(f);
	start = test_now_ns();
	status = fault_ckpt(f, "dump", fault_pid(f), "-R");
	*duration = (test_now_ns() - start) / 1000;
	fault_remove_image(f);
	if (status) {
		fault_failed(f, "%s: a dump fails (status %d)", f->sort, status);
		return 0;
	}
	return fault_still_well(f, "a whole dump -R") ? s.n_stops : 0;
}

static void torment(struct fault *f, const char *sort, long rounds)
{
	unsigned int seed = 1 + sort[0];
	long n_stops, duration = 1, step;

	if (!fault_start(f, sort))
		return;
	n_stops = measure(f, &duration);
	if (!n_stops)
		return;
	f->heart->tolerant = 1;
	step = rounds > 0 && n_stops > rounds ? n_stops / rounds : 1;
	/* From a different start for each sort, so that together they meet more calls. */
	for (long n = 1 + (step > 1 ? rand_r(&seed) % step : 0);
	     n <= n_stops && f->pid && f->n_failed < 10; n += step)
		kill_at_call(f, n, n / step % 4 != 3, n / step % 2);
	for (long i = 0; i < (rounds > 0 ? rounds : n_stops) && f->pid && f->n_failed < 10; i++)
		kill_at_random(f, &seed, duration);
	fault_ckpt(f, "dump", fault_pid(f), "-R");
	if (!fault_has_image(f) || fault_n_files(f) > 2)
		fault_failed(f, "%s: %d files after a whole dump: leftovers of killed ones stay",
			     sort, fault_n_files(f));
	fault_remove_image(f);
	printf("# %s: %ld stops, %ld us\n", sort, n_stops, duration);
}

/* Memory is copied while it runs. */
static void torment_live(struct fault *f, long rounds)
{
	fault_options(f, "live\n");
	torment(f, "sleep", rounds);
	fault_options(f, NULL);
}

int main(int argc, char **argv)
{
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	for (int i = 0; victim_sorts[i]; i++)
		if (argc < 2 || !strcmp(argv[1], victim_sorts[i]))
			torment(&f, victim_sorts[i], fault_setting("KILL_ROUNDS", 15));
	/* Under a seccomp filter, which binds again as soon as ckpt is dead. */
	if (!geteuid() && (argc < 2 || !strcmp(argv[1], "filtered")))
		torment(&f, "filtered", fault_setting("KILL_ROUNDS", 15));
	if (victim_can_dispatch() && (argc < 2 || !strcmp(argv[1], "dispatch")))
		torment(&f, "dispatch", fault_setting("KILL_ROUNDS", 15));
	f.copies = true;
	if (argc < 2 || !strcmp(argv[1], "copies"))
		torment(&f, "many", fault_setting("KILL_ROUNDS", 20));
	if (argc < 2 || !strcmp(argv[1], "live"))
		torment_live(&f, fault_setting("KILL_ROUNDS", 15) * 2);
	if (n_interrupted[true])
		fault_failed(&f, "%lu waits are interrupted by kills of ckpt", n_interrupted[true]);
	if (n_interrupted[false] > 3 + n_kills / 200)
		fault_failed(&f, "%lu of %lu kills met a moment in which a wait is interrupted",
			     n_interrupted[false], n_kills);
	snprintf(
		summary, sizeof(summary),
		"%lu dumps killed, %lu programs harmed, %lu waits interrupted, %lu images left, all whole",
		n_kills, n_harmed, n_interrupted[false] + n_interrupted[true], n_images);
	return fault_end(&f, summary);
}
