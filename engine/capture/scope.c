/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is out of scope for a whole task: other namespaces, seccomp, and state that the kernel lets tasks share or
 * threads keep apart, which a restore would make differently.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "engine/capture/state.h"

/* Of a process; a thread cannot leave the user namespace or the clock of its process. */
static const char *const namespaces[CKPT_N_NAMESPACES] = {
	"mnt", "pid_for_children", "net", "ipc", "uts", "cgroup", "pid", "user", "time", "time_for_children",
};
#define N_OF_THREAD 6

void ckpt_capture_scope_ahead(struct ckpt_capture *c)
{
	for (size_t i = 0; i < CKPT_N_NAMESPACES; i++) {
		char path[40];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", namespaces[i]);
		n = readlink(path, c->our_ns[i], sizeof(c->our_ns[i]) - 1);
		c->our_ns[i][n > 0 ? n : 0] = '\0';
	}
}

/* SUBJECT is the process, or its thread. */
static int check_namespaces(struct ckpt_capture *c, pid_t tid, size_t n, const char *subject, struct ckpt_err *err)
{
	for (size_t i = 0; i < n; i++) {
		char name[24], link[32];
		int r;

		if (!c->our_ns[i][0])
			continue;
		snprintf(name, sizeof(name), "ns/%s", namespaces[i]);
		r = c->src->ops->read_link(c->src, tid, name, link, sizeof(link), err);
		/* Linux shows no pid_for_children of a process that unshared it and has not forked yet. */
		if (r == -ENOENT)
			r = snprintf(link, sizeof(link), "?");
		if (r < 0)
			return ckpt_in(err, r, "%s", subject);
		if (strcmp(link, c->our_ns[i]))
			ckpt_problem_add(c->problems, CKPT_E_NAMESPACE, "%s: it is in another %s namespace", subject,
					 namespaces[i]);
	}
	return 0;
}

static bool tid_in_tree(const struct ckpt_capture *c, uint64_t tid)
{
	for (size_t i = 0; i < c->n_tasks; i++) {
		for (size_t j = 0; j < c->tasks[i].frozen->n_tids; j++) {
			if ((uint64_t)c->tasks[i].frozen->tids[j] == tid)
				return true;
		}
	}
	return false;
}

static int check_status(struct ckpt_capture *c, pid_t pid, pid_t tid, const char *subject, struct ckpt_err *err)
{
	struct ckpt_collect collect = { .src = c->src, .arena = c->arena, .capture = c, .pid = pid, .tid = tid };
	uint64_t tracer;
	const char *text;
	int r = ckpt_status_text(&collect, &text, err);

	if (r < 0)
		return ckpt_in(err, r, "%s", subject);
	if (ckpt_status_u64(text, "Seccomp"))
		ckpt_problem_add(c->problems, CKPT_E_TASK_STATE, "%s: it runs under seccomp", subject);
	tracer = ckpt_status_u64(text, "TracerPid");
	if (tracer && tid_in_tree(c, tracer))
		ckpt_problem_add(c->problems, CKPT_E_TRACED, "%s: it is traced by %d of the same tree", subject,
				 (int)tracer);
	return 0;
}

/* Threads of one process share descriptors and folders, unless one of them called unshare(2). */
static void check_thread(struct ckpt_capture *c, const struct ckpt_capture_task *t, pid_t tid)
{
	static const struct { int type; const char *what; } shared[] = {
		{ KCMP_FILES, "descriptors" }, { KCMP_FS, "a working directory" },
	};

	for (size_t i = 0; i < 2; i++) {
		if (c->src->ops->compare(c->src, t->frozen->pid, tid, shared[i].type, 0, 0) > 0)
			ckpt_problem_add(c->problems, CKPT_E_SHARED_STATE, "%s: thread %d has %s of its own", t->who,
					 tid, shared[i].what);
	}
}

static int check_task(struct ckpt_capture *c, const struct ckpt_capture_task *t, struct ckpt_err *err)
{
	const struct ckpt_frozen *f = t->frozen;
	int r = check_namespaces(c, f->pid, CKPT_N_NAMESPACES, t->who, err);

	for (size_t i = 0; r >= 0 && i < f->n_tids; i++) {
		char subject[80];

		if (!i)
			snprintf(subject, sizeof(subject), "%s", t->who);
		else
			snprintf(subject, sizeof(subject), "%s: thread %d", t->who, f->tids[i]);
		r = check_status(c, f->pid, f->tids[i], subject, err);
		if (r < 0 || !i)
			continue;
		check_thread(c, t, f->tids[i]);
		r = check_namespaces(c, f->tids[i], N_OF_THREAD, subject, err);
	}
	return r;
}

/* Sorted into OTHER by the order of kcmp(2): whoever is equal to one that is there shares it. */
static int check_shared(struct ckpt_capture *c, int type, const char *what, struct ckpt_err *err)
{
	const struct ckpt_capture_task **other = ckpt_alloc(c->arena, c->n_tasks * sizeof(*other));
	size_t n = 0;

	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct ckpt_capture_task *t = &c->tasks[i];
		size_t low = 0, high = n;
		int order = 1;

		if (t->frozen->zombie)
			continue;
		while (low < high && order) {
			size_t mid = (low + high) / 2;

			order = c->src->ops->compare(c->src, t->frozen->pid, other[mid]->frozen->pid, type, 0, 0);
			if (order < 0)
				return ckpt_fail(err, order, "%s: cannot compare with process %d", t->who,
						 other[mid]->frozen->pid);
			if (!order)
				ckpt_problem_add(c->problems, CKPT_E_SHARED_STATE, "%s: it shares its %s with %s",
						 t->who, what, other[mid]->who);
			else if (order == 1)
				high = mid;
			else
				low = mid + 1;
		}
		if (!order)
			continue;
		memmove(other + low + 1, other + low, (n - low) * sizeof(*other));
		other[low] = t;
		n++;
	}
	return 0;
}

int ckpt_capture_scope(struct ckpt_capture *c, struct ckpt_err *err)
{
	static const struct { int type; const char *what; } shared[] = {
		{ KCMP_VM, "memory" }, { KCMP_FILES, "descriptors" }, { KCMP_FS, "working directory" },
		{ KCMP_SIGHAND, "signal handlers" },
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < c->n_tasks; i++) {
		if (!c->tasks[i].frozen->zombie)
			r = check_task(c, &c->tasks[i], err);
	}
	for (size_t i = 0; r >= 0 && c->n_tasks > 1 && i < sizeof(shared) / sizeof(shared[0]); i++)
		r = check_shared(c, shared[i].type, shared[i].what, err);
	return r;
}
