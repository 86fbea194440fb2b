/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills ckpt dedup at its n-th system call: the last image of the chain must be what it was, to the
 * byte; the others are whole, or say what they gave up; the next dedup does what is left.
 * $KILL_ROUNDS: kills of each sort; 0: at every call.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static unsigned long n_kills, n_recorded;
static char *made, *work, *flat; /* the chain, a copy of it, what that is as one image */
static char *want;               /* pages of the chain as one image */
static size_t want_len;

static int in(struct fault *f, const char *chain, int i, const char *command, char *a, char *b)
{
	char *img = f->img;
	int r;

	f->img = test_text("%s/%d", chain, i);
	r = fault_ckpt(f, command, a, b);
	free(f->img);
	f->img = img;
	return r;
}

static char *flatten(struct fault *f, const char *chain, size_t *lenp)
{
	char *option = test_text("--output=%s", flat), *path = test_text("%s/pages", flat), *p;

	test_remove_tree(flat);
	p = in(f, chain, 3, "flatten", option, NULL) ? NULL : test_read(path, lenp);
	free(option);
	free(path);
	return p;
}

/* Two pre-dumps or a dump in between, and a dump. */
static bool make(struct fault *f, bool dump)
{
	char *conf = test_text("%s.conf", f->out);
	bool good;

	test_remove_tree(made);
	mkdir(made, 0700);
	test_write(conf, "track-mem\nleave-running\n");
	good = !in(f, made, 1, "pre-dump", fault_pid(f), NULL);
	setenv("CKPT_CONFIG_FILE", conf, 1);
	good = good &&
	       !in(f, made, 2, dump ? "dump" : "pre-dump", fault_pid(f), "--prev-images-dir=../1");
	good = good && !in(f, made, 3, "dump", fault_pid(f), "--prev-images-dir=../2");
	unsetenv("CKPT_CONFIG_FILE");
	unlink(conf);
	free(conf);
	free(want);
	want = good ? flatten(f, made, &want_len) : NULL;
	if (!want)
		fault_failed(f, "%s: no chain", f->sort);
	return want;
}

static void fresh(void)
{
	test_remove_tree(work);
	test_run((char *[]){ "cp", "-a", made, work, NULL }, NULL, "/", 10000);
}

static bool is_same(struct fault *f)
{
	size_t len;
	char *now = flatten(f, work, &len);
	bool same = now && len == want_len && !memcmp(now, want, len);

	free(now);
	return same;
}

/* Whole, or it says what it gave up. */
static bool is_told(struct fault *f, int i)
{
	char *said;
	bool told;

	if (!in(f, work, i, "verify", NULL, NULL))
		return true;
	said = test_read(f->out, NULL);
	told = said && strstr(said, "CKPT-E0355");
	free(said);
	return told;
}

static void look(struct fault *f, char *option, const char *what)
{
	n_kills++;
	n_recorded += test_exists("%s/1/given-up", work);
	if (in(f, work, 3, "verify", NULL, NULL) || !is_same(f))
		fault_failed(f, "%s: the image is not what it was", what);
	if (in(f, work, 1, "verify", NULL, NULL) || !is_told(f, 2))
		fault_failed(f, "%s: the images before it are damaged", what);
	if (in(f, work, 3, "dedup", option, NULL) || !is_same(f))
		fault_failed(f, "%s: the next one cannot do it", what);
	for (int i = 1; i <= 2; i++)
		if (test_exists("%s/%d/.given-up.tmp", work, i))
			fault_failed(f, "%s: a file is left", what);
}

/* Killed at stop N, 0: not. Its stops. */
static long dedup(struct fault *f, char *option, long n)
{
	struct step s = { .kill_at = n, .timeout_ms = 30000 };
	char what[100], *img = f->img;

	fresh();
	f->img = test_text("%s/3", work);
	if (!step_run(&s, fault_argv(f, "dedup", option, NULL), f->out) || s.timed_out)
		fault_failed(f, "it does not end");
	free(f->img);
	f->img = img;
	snprintf(what, sizeof(what), "dedup %s killed at stop %ld (call %ld)", option ? option : "",
		 n, s.nr);
	if (n)
		look(f, option, what);
	else if (s.status || !test_exists("%s/1/given-up", work) || !is_same(f))
		fault_failed(f, "dedup fails (status %x)", s.status);
	return s.n_stops;
}

static void torment(struct fault *f, bool dump, char *option, long rounds)
{
	long n_stops, step;

	if (!make(f, dump))
		return;
	n_stops = dedup(f, option, 0);
	step = rounds > 0 && n_stops > rounds * 4 ? n_stops / rounds / 4 : 1;
	/* Mostly it reads; what changes something comes at the end. */
	for (long n = rounds > 0 ? n_stops * 3 / 4 : 1; n <= n_stops && f->n_failed < 10; n += step)
		dedup(f, option, n);
	printf("# %s %s: %ld stops\n", dump ? "a dump" : "pre-dumps", option ? option : "",
	       n_stops);
}

int main(int argc, char **argv)
{
	long rounds = fault_setting("KILL_ROUNDS", 25);
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	if (!fault_can_track(&f))
		return 77;
	made = test_text("%s/made", f.dir);
	work = test_text("%s/work", f.dir);
	flat = test_text("%s/flat", f.dir);
	if (fault_start(&f, "many")) {
		torment(&f, false, NULL, rounds);
		torment(&f, true, "--give-up-parents", rounds);
		fault_still_well(&f, "all of it");
	}
	if (!n_recorded)
		fault_failed(&f, "nothing was recorded when it was killed");
	snprintf(summary, sizeof(summary),
		 "%lu killed, %lu of them after the first record, every image as good as before",
		 n_kills, n_recorded);
	return fault_end(&f, summary);
}
