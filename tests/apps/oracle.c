/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fidelity oracle for scripts. It reads commands, a line each: `look PID` remembers all that
 * can be learned of the tree, `compare PID` prints what differs in what came back, and for trees
 * that are left stopped, so that nothing changes between the two: `end PID`, `continue PID`. The
 * last line of an answer is "ok" or "bad".
 */
#include <signal.h>
#include <string.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

#define MAX_TREE 512

static struct oracle *before;

/* A tree that is left stopped by a dump has just been told so by its children. */
static const char *const told[] = { "*/waiting signals of all/17/*", "*/status/ShdPnd", NULL };

static size_t tree(pid_t root, pid_t *v)
{
	v[0] = root;
	return 1 + test_descendants_of(root, v + 1, MAX_TREE - 1);
}

static struct oracle *take(pid_t root)
{
	struct oracle_look how = { .like = before, .stop = true };
	pid_t v[MAX_TREE];
	size_t n = tree(root, v);

	return oracle_take(v, n, &how);
}

static bool look(pid_t root)
{
	oracle_free(before);
	before = NULL;
	before = take(root);
	return before->n > 0;
}

/* Restored by an ordinary user, it lives in namespaces of its own. */
static bool compare(pid_t root)
{
	bool boxed = test_inner_pid(root) != root;
	struct oracle *after;
	size_t n;

	if (!before)
		return false;
	after = take(root);
	n = oracle_compare(before, after, boxed, told, "");
	oracle_free(after);
	return n == 0;
}

static bool signal_tree(pid_t root, int sig)
{
	pid_t v[MAX_TREE];
	bool done = true;

	for (size_t n = tree(root, v); n > 0; n--)
		done &= kill(v[n - 1], sig) == 0;
	return done;
}

static bool end(pid_t root)
{
	return signal_tree(root, SIGKILL);
}

static bool go_on(pid_t root)
{
	return signal_tree(root, SIGCONT);
}

static const struct {
	const char *name;
	bool (*run)(pid_t root);
} commands[] = {
	{ "look", look },
	{ "compare", compare },
	{ "end", end },
	{ "continue", go_on },
};

int main(void)
{
	char name[16];
	pid_t pid;

	while (scanf("%15s %d", name, &pid) == 2) {
		bool done = false;

		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			if (!strcmp(name, commands[i].name))
				done = commands[i].run(pid);
		puts(done ? "ok" : "bad");
		fflush(stdout);
	}
	return 0;
}
