/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tasks and descriptors share what, by kcmp(2): things that are the same one are named after
 * the first of them. The kernel gives an order, so they are sorted rather than compared each with
 * each.
 */
#include <ctype.h>
#include <dirent.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

struct thing {
	pid_t tid;
	int fd;
	uint64_t nth; /* by process and number, as they see them themselves */
	char name[48];
};

struct things {
	struct thing *v;
	size_t n, room;
};

static void push(struct things *all, pid_t tid, int fd, const char *what, pid_t name, int number)
{
	struct thing *t;

	if (all->n == all->room) {
		all->room = all->room ? 2 * all->room : 64;
		all->v = realloc(all->v, all->room * sizeof(*all->v));
		if (!all->v)
			abort();
	}
	t = &all->v[all->n];
	*t = (struct thing){ .tid = tid, .fd = fd, .nth = (uint64_t)name << 32 | number };
	snprintf(t->name, sizeof(t->name), "%d/%s/%d", name, what, number);
	all->n++;
}

/* Of a process: its threads or its descriptors, in any order. */
static void list(struct things *all, pid_t pid, bool files)
{
	pid_t name = test_inner_pid(pid);
	char path[64];
	struct dirent **v;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, files ? "fd" : "task");
	n = scandir(path, &v, NULL, versionsort);
	for (int i = 0; i < n; i++) {
		int number = atoi(v[i]->d_name);

		if (isdigit((unsigned char)v[i]->d_name[0]))
			push(all, files ? pid : number, files ? number : 0, files ? "fd" : "thread",
			     name, files ? number : test_inner_pid(number));
		free(v[i]);
	}
	if (n >= 0)
		free(v);
}

static int order(const void *a, const void *b, void *type)
{
	const struct thing *x = a, *y = b;
	long r = syscall(SYS_kcmp, x->tid, y->tid, *(int *)type, (long)x->fd, (long)y->fd);

	return r == 1 ? -1 : r == 2 ? 1 : x->nth < y->nth ? -1 : x->nth > y->nth;
}

static void add_classes(struct oracle *o, struct things *all, int type, const char *what)
{
	const struct thing *first = NULL;

	if (all->n)
		qsort_r(all->v, all->n, sizeof(*all->v), order, &type);
	for (size_t i = 0; i < all->n; i++) {
		const struct thing *t = &all->v[i];
		long r = first ? syscall(SYS_kcmp, first->tid, t->tid, type, (long)first->fd,
					 (long)t->fd) :
				 -1;

		if (r != 0)
			first = t;
		oracle_add(o, first->name, "%s/same %s", t->name, what);
	}
}

void oracle_add_same(struct oracle *o, const pid_t *pids, size_t n)
{
	static const struct {
		int type;
		const char *name;
	} types[] = {
		{ KCMP_VM, "memory" },        { KCMP_FILES, "files" }, { KCMP_FS, "fs" },
		{ KCMP_SIGHAND, "handlers" }, { KCMP_IO, "io" },       { KCMP_SYSVSEM, "undo" },
	};
	struct things threads = { 0 }, files = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (test_proc_state(pids[i], NULL) == 'Z')
			continue;
		list(&threads, pids[i], false);
		list(&files, pids[i], true);
	}
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		add_classes(o, &threads, types[i].type, types[i].name);
	add_classes(o, &files, KCMP_FILE, "file");
	free(threads.v);
	free(files.v);
}
