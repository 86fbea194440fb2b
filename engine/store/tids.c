/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted list, because an image may claim any number of threads: looking for each in turn would
 * take for ever. */
#include <errno.h>
#include <stdlib.h>
#include "engine/store/tids.h"

static int compare(const void *a, const void *b)
{
	const struct ckpt_tid *x = a, *y = b;

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	return x->task < y->task ? -1 : x->task > y->task;
}

int ckpt_tids_open(struct ckpt_tids *tids, const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	size_t room = 0;

	for (size_t i = 0; i < snap->n_tasks; i++)
		room += snap->tasks[i]->n_threads + 1;
	tids->n = 0;
	tids->v = malloc((room + 1) * sizeof(*tids->v));
	if (!tids->v)
		return ckpt_fail(err, -ENOMEM, "%zu threads: cannot list", room);
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const struct ckpt_task *task = snap->tasks[i];

		if (!task->n_threads)
			tids->v[tids->n++] = (struct ckpt_tid){ task->pid, i + 1, NULL };
		for (size_t k = 0; k < task->n_threads; k++)
			tids->v[tids->n++] =
				(struct ckpt_tid){ task->threads[k].tid, i + 1, &task->threads[k] };
	}
	qsort(tids->v, tids->n, sizeof(*tids->v), compare);
	return 0;
}

void ckpt_tids_close(struct ckpt_tids *tids)
{
	free(tids->v);
	tids->v = NULL;
}

struct ckpt_thread *ckpt_tids_find(const struct ckpt_tids *tids, const struct ckpt_snapshot *snap,
				   uint32_t task, pid_t tid)
{
	const struct ckpt_tid key = { tid, task, NULL };
	const struct ckpt_tid *found;

	/* Mostly the leader, or the only one. */
	if (task && task <= snap->n_tasks && snap->tasks[task - 1]->n_threads &&
	    snap->tasks[task - 1]->threads[0].tid == tid)
		return &snap->tasks[task - 1]->threads[0];
	found = bsearch(&key, tids->v, tids->n, sizeof(key), compare);
	return found ? found->thread : NULL;
}
