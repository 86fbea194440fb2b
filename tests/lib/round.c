/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness' side of a case. The keeper becomes the ordinary user itself where the variant wants
 * that, so target and ckpt have the same rights. Processes are known by their innermost numbers: a
 * user's restore lives in a pid namespace of its own.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/keeper.h"
#include "tests/lib/ready.h"
#include "tests/lib/story-options.h"

#define MAX_TREE 2048
#define MAX_BUSY (3 * MAX_TREE)

static bool is_named(pid_t pid, const char *want)
{
	char *name = test_status(pid, "Name");
	bool is = name && !strcmp(name, want);

	free(name);
	return is;
}

/* Without what serves the memory of a lazy restore, or tracks it for the next dump. */
static size_t tree(struct keeper *k, pid_t *v)
{
	size_t n = test_descendants(v, MAX_TREE), kept = 0;

	/* The first process of a box is ckpt's, unless it is the restored root. */
	for (size_t i = 0; i < n; i++)
		if (!is_named(v[i], "ckpt-lazy") && !is_named(v[i], "ckpt-track") &&
		    (!k->boxed || test_inner_pid(v[i]) != 1 || k->inner == 1))
			v[kept++] = v[i];
	return kept;
}

/* The engine that the library starts, and copies of the program: who takes orphans gets them. */
static bool has_helpers(struct keeper *k)
{
	pid_t v[MAX_TREE];
	size_t n = tree(k, v);
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		char *name = test_status(v[i], "Name");

		if (name && !strncmp(name, "ckpt-", 5) && v[i] != k->root)
			found |= waitpid(v[i], NULL, WNOHANG | __WALL) <= 0;
		free(name);
	}
	return found;
}

static bool is_there(const char *name)
{
	pid_t v[MAX_TREE];
	size_t n = test_descendants(v, MAX_TREE);
	bool found = false;

	for (size_t i = 0; i < n; i++)
		if (is_named(v[i], name))
			found |= waitpid(v[i], NULL, WNOHANG | __WALL) <= 0;
	return found;
}

/* Does ckpt still serve memory? */
static bool is_served(void)
{
	return is_there("ckpt-lazy");
}

static struct oracle *look(struct keeper *k, bool stop)
{
	static struct oracle_busy busy[MAX_BUSY];
	struct oracle_look how = { .like = k->before,
				   .stop = stop && !(k->r->story->flags & CASE_RUNS),
				   .busy = busy };
	pid_t v[MAX_TREE];
	size_t n = tree(k, v);

	how.n_busy = ready_busy(k->r->dir, busy, MAX_BUSY);
	return oracle_take(v, n, &how);
}

/* Verdicts of all processes of the story: 0 all there and ok, 1 some missing, else as decided. */
static int read_verdicts(struct keeper *k, bool final)
{
	int result = ROUND_OK;

	for (int i = 0; i == 0 || test_exists("%s/child.%d", k->r->dir, i); i++) {
		char *path = test_text("%s/verdict.%d", k->r->dir, i),
		     *text = test_read(path, NULL);

		if (!text) {
			result = -1;
			if (final)
				keeper_fail(k, "process %d of the story does not answer", i);
		} else if (strcmp(text, "ok\n")) {
			const char *why = strstr(text, " - ") ? strstr(text, " - ") + 3 : text;

			keeper_fail(k, "%.*s", (int)strcspn(why, "\n"), why);
			result = !strncmp(text, "skip", 4) ? ROUND_SKIPPED : ROUND_FAILED;
		}
		free(text);
		free(path);
		if (result > 0)
			break;
	}
	return result;
}

static bool decided(struct keeper *k)
{
	return read_verdicts(k, false) >= 0;
}

static int start_target(struct keeper *k)
{
	struct round *r = k->r;
	char index[16], *argv[] = { (char *)r->exe, "@target", r->dir, index, NULL };
	char *out = test_text("%s/out", r->dir), *cwd = test_text("%s/w", r->dir);
	char *ready = test_text("%s/ready.0", r->dir);

	snprintf(index, sizeof(index), "%d", r->index);
	k->root = k->inner = r->inside ? inside_spawn(r->inside, argv, out, cwd, r->dir) :
					 test_spawn(argv, out, cwd);
	EVENTUALLY(test_exists("%s", ready) || ready_has_verdict(k->r->dir) ||
		   test_proc_state(k->root, NULL) == 'Z');
	if (!test_exists("%s", ready)) {
		int result = read_verdicts(k, false);

		return result > 0 ? result : keeper_fail(k, "the target does not become ready");
	}
	return ROUND_OK;
}

static bool nothing_left(void)
{
	pid_t v[16];

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	return test_descendants(v, 16) == 0;
}

static bool waits_for_us(pid_t pid, const struct oracle_busy *busy, size_t n)
{
	pid_t name = test_inner_pid(pid);

	for (size_t i = 0; i < n; i++)
		if (busy[i].name == name)
			return true;
	return false;
}

static bool sleeps(pid_t pid)
{
	char *path = test_text("/proc/%d/syscall", pid), *text = test_read(path, NULL);
	bool does = text && atoi(text) == SYS_clock_nanosleep;

	free(text);
	free(path);
	return does;
}

/* The rest of a sleep is waited by ppoll(2) inside the library's handler, where all signals are
 * blocked for a moment after it. Who sleeps by its own call again has left it. */
static void let_leave_handler(struct keeper *k)
{
	static struct oracle_busy busy[MAX_BUSY];
	size_t n_busy = ready_busy(k->r->dir, busy, MAX_BUSY);
	pid_t v[MAX_TREE];
	size_t n = tree(k, v);

	for (size_t i = 0; i < n; i++)
		if (waits_for_us(v[i], busy, n_busy))
			EVENTUALLY(sleeps(v[i]));
}

/* Threads are on their way out of the library's handler for a moment. */
static bool is_same(struct keeper *k)
{
	struct oracle *after = look(k, false);
	size_t n = oracle_compare(k->outside, after, k->boxed, k->r->story->differs, NULL);

	oracle_free(after);
	return n == 0;
}

static void let_settle(struct keeper *k)
{
	pid_t v[MAX_TREE];
	size_t n = tree(k, v);

	test_let_settle(v, n);
}

static int compare(struct keeper *k)
{
	char prefix[300];
	struct oracle *after;
	size_t n;

	if (k->r->story->flags & CASE_LOSSY)
		return ROUND_OK;
	if (k->r->inside) {
		let_leave_handler(k);
		EVENTUALLY(!has_helpers(k) && is_same(k));
	}
	if (story_wants_copies(k->r->story))
		EVENTUALLY(!has_helpers(k));
	if (story_chain(k->r->story)) /* the tracking ends right after the last dump of it */
		EVENTUALLY(!is_there("ckpt-track"));
	let_settle(k); /* what a thread that has not run yet waits for shows when it waits */
	after = look(k, true);
	snprintf(prefix, sizeof(prefix), "# %s: %.200s: ", k->r->variant, k->r->story->name);
	n = oracle_compare(k->before, after, k->boxed, k->r->story->differs, prefix);
	oracle_free(after);
	if (n)
		return keeper_fail(k, "%zu things differ outside", n);
	return ROUND_OK;
}

static int dump_running(struct keeper *k)
{
	const char *many = getenv("CKPT_MANY");
	int n = !(k->r->story->flags & CASE_MANY) ? 1 : many ? atoi(many) : 20;

	for (int i = 0; i < n && !ready_has_verdict(k->r->dir); i++) {
		int status = keeper_dump(k, "-R");
		char *dir = keeper_image(k);

		if (status)
			return keeper_fail(k, "dump %d that leaves it running exits with %d", i,
					   status);
		if (!test_proc_state(k->root, NULL) || test_proc_state(k->root, NULL) == 'Z')
			return keeper_fail(k, "the target died of a dump that leaves it running");
		if (i + 1 < n)
			test_remove_tree(dir);
		free(dir);
	}
	return compare(k);
}

static int dump_and_restore(struct keeper *k)
{
	bool leaves = k->r->story->flags & (CASE_COPIES | CASE_LEAVES);
	int status = EVENTUALLY(!is_served()) ? keeper_dump(k, leaves ? "-R" : NULL) : -1;
	pid_t v[MAX_TREE];
	char *dir;

	if (status)
		return keeper_fail(k, "ckpt dump exits with %d", status);
	if (leaves) {
		test_end_descendants();
	} else if (!k->boxed && k->n_images == 1) {
		status = test_wait(k->root, test_wait_ms());
		if (status < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			return keeper_fail(k, "the target was not killed by the dump (status %x)",
					   status);
	}
	if (!EVENTUALLY(nothing_left()))
		return keeper_fail(k, "%zu processes are left after the dump",
				   test_descendants(v, MAX_TREE));
	if (k->r->story->between)
		k->r->story->between();
	dir = keeper_image(k);
	status = keeper_ckpt(k, "restore", (char *[]){ "-d", "-D", dir, NULL });
	free(dir);
	if (status)
		return keeper_fail(k, "ckpt restore exits with %d", status);
	k->root = test_child_with_inner_pid(k->inner);
	if (!k->root)
		return keeper_fail(k, "ckpt restore is done, but process %d is not there",
				   k->inner);
	k->boxed = k->root != k->inner;
	if (k->r->story->flags & CASE_LOSSY && k->n_images == 1)
		return ROUND_OK; /* it is looked at while its memory comes */
	if (!EVENTUALLY(!is_served()))
		return keeper_fail(k, "its memory does not become complete");
	return compare(k);
}

static bool says_all(struct keeper *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(k->r->story->refused) && k->r->story->refused[i]; i++)
		if (!k->said || !strstr(k->said, k->r->story->refused[i])) {
			keeper_fail(k, "does not name \"%s\"", k->r->story->refused[i]);
			return false;
		}
	return true;
}

static int be_refused(struct keeper *k)
{
	char pid[16], *dir;
	int status, result = ROUND_OK;

	snprintf(pid, sizeof(pid), "%d", k->root);
	if (!k->r->inside) {
		status = keeper_ckpt(k, "check", (char *[]){ "-t", pid, NULL });
		if (status != 1 && status != 3)
			return keeper_fail(k, "ckpt check -t exits with %d", status);
		if (!says_all(k))
			return ROUND_FAILED;
	}
	status = keeper_dump(k, NULL);
	dir = keeper_image(k);
	if (status != 1 && status != 3)
		result = keeper_fail(k, "ckpt dump exits with %d", status);
	else if (test_exists("%s/image", dir))
		result = keeper_fail(k, "a refused dump leaves an image");
	else if (!says_all(k))
		result = ROUND_FAILED;
	free(dir);
	return result == ROUND_OK ? compare(k) : result;
}

static int take_through(struct keeper *k)
{
	int result = ROUND_OK, restores = k->r->mode == ROUND_TWICE ? k->r->restores : 1;

	if (k->r->inside)
		EVENTUALLY(!has_helpers(k));
	let_settle(k);
	k->before = look(k, true);
	k->outside = k->r->inside ? look(k, false) : NULL;
	if (k->r->mode == ROUND_DRY)
		return compare(k);
	if (k->r->story->refused[0])
		return be_refused(k);
	if (k->r->mode == ROUND_RUNNING)
		return dump_running(k);
	for (int i = 0; i < restores && result == ROUND_OK; i++)
		result = dump_and_restore(k);
	return result;
}

static int tell(struct keeper *k)
{
	char *go = test_text("%s/go", k->r->dir);
	int result = start_target(k), said;

	if (result == ROUND_OK)
		result = take_through(k);
	if (result != ROUND_OK) {
		/* What the story has found out by itself says more. */
		said = read_verdicts(k, false);
		return said > 0 ? said : result;
	}
	test_write(go, "now\n");
	/* Longer than a story waits by itself. */
	for (int i = 0; i < 4 && !decided(k) && test_proc_state(k->root, NULL) != 'Z'; i++)
		EVENTUALLY(decided(k) || test_proc_state(k->root, NULL) == 'Z');
	result = read_verdicts(k, true);
	return result < 0 ? ROUND_FAILED : result;
}

static void comment(const char *what, const char *text)
{
	char *copy = strdup(text ? text : ""), *save, *line;

	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		printf("#   %s: %s\n", what, line);
	free(copy);
}

static int keep(struct round *r)
{
	struct keeper k = { .r = r };
	char *out = test_text("%s/out", r->dir);
	int result;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (r->user)
		test_become_user();
	if (chdir(r->dir) < 0 || chdir("w") < 0)
		return ROUND_FAILED;
	result = tell(&k);
	if (result == ROUND_OK) {
		printf("ok - %s: %s\n", r->variant, r->story->name);
	} else if (result == ROUND_SKIPPED) {
		printf("ok - %s: %s # SKIP %s\n# skip: %s\n", r->variant, r->story->name, k.why,
		       k.why);
	} else {
		char *said = test_read(out, NULL);

		printf("not ok - %s: %s: %s\n", r->variant, r->story->name, k.why);
		comment("ckpt", k.said);
		comment("target", said);
	}
	if (!test_end_descendants()) {
		printf("not ok - %s: %s: processes cannot be ended\n", r->variant, r->story->name);
		result = ROUND_FAILED;
	}
	return result;
}

static bool prepare_folder(struct round *r)
{
	struct inside *copy;
	char *w;

	r->dir = test_temp_dir();
	w = test_text("%s/w", r->dir);
	if (mkdir(w, 0777) < 0 || chmod(w, 0777) < 0)
		return false;
	free(w);
	if (!r->user || getuid())
		return true;
	/* The build folder may be closed to the ordinary user. */
	w = test_text("%s/case", r->dir);
	if (!test_copy(r->exe, w, 0755))
		return false;
	r->exe = w;
	w = test_text("%s/ckpt", r->dir);
	if (r->ckpt && !test_copy(r->ckpt, w, 0755))
		return false;
	r->ckpt = w;
	if (!r->inside)
		return true;
	copy = malloc(sizeof(*copy));
	*copy = *r->inside;
	r->inside = copy;
	return inside_copy(copy, r->dir);
}

int round_run(struct round *r)
{
	int status;
	pid_t pid;

	if (!prepare_folder(r)) {
		printf("not ok - %s: %s: cannot make a folder: %m\n", r->variant, r->story->name);
		return ROUND_FAILED;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		exit(keep(r));
	status = test_wait(pid, 4 * CKPT_MS);
	if (status < 0) {
		printf("not ok - %s: %s: does not come to an end\n", r->variant, r->story->name);
		kill(pid, SIGKILL);
	}
	/* The keeper has ended all; what is left if it was killed comes to us. */
	test_end_descendants();
	if (getenv("CKPT_CASE_KEEP"))
		printf("# kept: %s\n", r->dir);
	else
		test_remove_tree(r->dir);
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : ROUND_FAILED;
}
