/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills pre-dumps and dumps that go on from an image, at their n-th system call: the program must
 * not notice, what is there of an image is whole, and a dump after that goes on from the same image
 * or is a complete one. $KILL_ROUNDS: kills of each; 0: at every call.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

#define BEFORE "--prev-images-dir=../base"

static unsigned long n_kills, n_images, n_went_on;
static char *base, *next; /* folders */

/* All but the victim, and what tracks its memory, has to come to an end. */
static bool are_gone(const struct fault *f)
{
	pid_t v[64], of_victim[64];
	size_t n = test_descendants(v, 64), m = test_descendants_of(f->pid, of_victim, 64),
	       left = 0;

	for (size_t i = 0; i < n; i++) {
		char *name = test_status(v[i], "Name");
		bool known = v[i] == f->pid || (name && !strcmp(name, "ckpt-track"));

		for (size_t k = 0; k < m; k++)
			known |= v[i] == of_victim[k];
		/* The dead are ours to wait for. */
		left += !known && waitpid(v[i], NULL, WNOHANG) != v[i];
		free(name);
	}
	return !left;
}

/* COMMAND on the program; from inside there is one only. */
static char **line(struct fault *f, char *folder, const char *command, char *more)
{
	static char *argv[8], pid[16];

	f->img = folder;
	if (!f->inside)
		return fault_argv(f, command, fault_pid(f), more);
	snprintf(pid, sizeof(pid), "%d", f->pid);
	argv[0] = (char *)f->inside->requester;
	argv[1] = "-D";
	argv[2] = f->img;
	argv[3] = "--track-mem";
	argv[4] = more;
	argv[5] = pid;
	argv[6] = NULL;
	unlink(f->out);
	return argv;
}

static int ckpt(struct fault *f, char *folder, const char *command, char *more)
{
	return test_run(line(f, folder, command, more), f->out, "/", 60000);
}

static int verify(struct fault *f, char *folder)
{
	f->img = folder;
	return fault_ckpt(f, "verify", NULL, NULL);
}

/* What the killed one has left, and whether the next one can do its work. */
static void look(struct fault *f, const char *what)
{
	n_kills++;
	if (!EVENTUALLY(are_gone(f)))
		fault_failed(f, "%s: processes are left after %s", f->sort, what);
	if (!fault_still_well(f, what))
		return;
	if (!EVENTUALLY(!fault_has_userfaultfd(f->pid)))
		fault_failed(f, "%s: a descriptor is left in it after %s", f->sort, what);
	if (fault_has_image(f)) {
		n_images++;
		if (verify(f, next))
			fault_failed(f, "%s: %s leaves an image that is not whole", f->sort, what);
		fault_remove_image(f);
	}
	if (ckpt(f, next, "pre-dump", BEFORE) || verify(f, next))
		fault_failed(f, "%s: no pre-dump can be made after %s", f->sort, what);
	n_went_on += test_exists("%s/parent", next);
	fault_still_well(f, what);
}

/* An image, and another one on top of it by COMMAND; killed at stop N, 0: not. Its stops. */
static long on_top(struct fault *f, char *command, long n)
{
	struct step s = { .kill_at = n,
			  .timeout_ms = 30000,
			  .attended = !f->inside,
			  .leaves_holder = true,
			  .kill_attendant = !f->inside && n / 2 % 2 };
	char what[100];

	test_remove_tree(next);
	test_remove_tree(base);
	if (ckpt(f, base, "pre-dump", "--track-timeout=60")) {
		fault_failed(f, "%s: a pre-dump fails", f->sort);
		return 0;
	}
	if (!step_run(&s, line(f, next, command, BEFORE), f->out) || s.timed_out) {
		fault_failed(f, "%s: %s to be killed at %ld does not end", f->sort, command, n);
		return 0;
	}
	snprintf(what, sizeof(what), "kill at stop %ld of %s (call %ld)", n, command, s.nr);
	if (n)
		look(f, what);
	else if (s.status || !test_exists("%s/parent", next) || verify(f, next))
		fault_failed(f, "%s: %s fails (status %x)", f->sort, command, s.status);
	return s.n_stops;
}

static void torment(struct fault *f, const char *sort, char *command, long rounds)
{
	long n_stops, step;

	if (!fault_start(f, sort))
		return;
	n_stops = on_top(f, command, 0);
	f->heart->tolerant = !f->inside;
	step = rounds > 0 && n_stops > rounds ? n_stops / rounds : 1;
	for (long n = 1 + sort[0] % step; n <= n_stops && f->pid && f->n_failed < 10; n += step)
		on_top(f, command, n);
	printf("# %s of %s: %ld stops\n", command, sort, n_stops);
}

/* By the library, which makes what tracks it in the program and passes it on. */
static void torment_inside(struct fault *f, long rounds)
{
	struct inside inside;

	if (!inside_find(&inside, f->ckpt)) {
		printf("# from inside: libckpt-inproc.so or ckpt-signal is not built\n");
		return;
	}
	f->inside = &inside;
	torment(f, "sleep", "ckpt-signal", rounds);
	torment(f, "many", "ckpt-signal", rounds);
	torment(f, "tree", "ckpt-signal", rounds);
	f->inside = NULL;
}

/* Dumps after which it goes on, tracked. */
static void torment_dumps(struct fault *f, long rounds)
{
	fault_options(f, "track-mem\nleave-running\n");
	torment(f, "tree", "dump", rounds);
	fault_options(f, NULL);
}

int main(int argc, char **argv)
{
	long rounds = fault_setting("KILL_ROUNDS", 10);
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	if (!fault_can_track(&f))
		return 77;
	base = test_text("%s/base", f.dir);
	next = test_text("%s/next", f.dir);
	torment(&f, "sleep", "pre-dump", rounds);
	torment(&f, "many", "pre-dump", rounds);
	torment_dumps(&f, rounds * 2);
	torment_inside(&f, rounds);
	if (rounds && !n_went_on)
		fault_failed(&f, "no image goes on from the one before after a kill");
	snprintf(summary, sizeof(summary),
		 "%lu rounds killed, %lu images left, all whole, %lu times the next goes on",
		 n_kills, n_images, n_went_on);
	return fault_end(&f, summary);
}
