/* SPDX-License-Identifier: Apache-2.0 */
/* Of as many threads as may be kept open; of the others the kernel has the names at hand. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/capture/fds-ahead.h"
#include "engine/capture/threads-ahead.h"

#define MOST 1920 /* beside those of fds-ahead.c */
#define AUXV 5    /* is of the memory that there is when it is opened */

const char *const ckpt_namespaces[CKPT_N_NAMESPACES] = {
	"mnt",  "pid_for_children",  "net", "ipc", "uts", "cgroup", "pid", "user",
	"time", "time_for_children",
};

const char *const ckpt_texts_ahead[CKPT_N_TEXTS] = { "limits", "oom_score_adj", "coredump_filter",
						     "timers", "autogroup",     "auxv" };

struct ckpt_threads_ahead *ckpt_threads_ahead_open(struct ckpt_arena *arena)
{
	struct ckpt_threads_ahead *ahead = ckpt_new(arena, struct ckpt_threads_ahead);

	ahead->most = ckpt_fds_to_keep(8, MOST);
	return ahead;
}

static void close_all(struct ckpt_thread_ahead *t)
{
	ckpt_close_fd(&t->status);
	for (size_t i = 0; i < CKPT_N_NAMESPACES; i++)
		ckpt_close_fd(&t->ns[i]);
	for (size_t i = 0; i < CKPT_N_TEXTS; i++)
		ckpt_close_fd(&t->text[i]);
}

void ckpt_threads_ahead_add(struct ckpt_threads_ahead *ahead, struct ckpt_arena *arena, pid_t pid,
			    pid_t tid)
{
	size_t n_ns = tid == pid ? CKPT_N_NAMESPACES : CKPT_N_OF_THREAD;
	struct ckpt_thread_ahead t;
	char path[80];

	memset(&t, -1, sizeof(t));
	t.tid = tid;
	for (size_t i = 0; i < n_ns; i++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s", pid, tid,
			 ckpt_namespaces[i]);
		t.ns[i] = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	t.status = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < CKPT_N_TEXTS && tid == pid; i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, ckpt_texts_ahead[i]);
		t.text[i] = open(path, O_CLOEXEC | (i == AUXV ? O_PATH : O_RDONLY));
	}
	ckpt_close_fd(&t.text[AUXV]);
	t.text[AUXV] = -1;
	ahead->n_seen++;
	ahead->n_open += n_ns + 1 + (tid == pid ? CKPT_N_TEXTS : 0);
	if (ahead->n_open > ahead->most) {
		close_all(&t);
		return;
	}
	ahead->v = ckpt_grow(arena, ahead->v, ahead->n, &ahead->room, 4, sizeof(*ahead->v));
	ahead->v[ahead->n++] = t;
}

static int by_number(const void *a, const void *b)
{
	const struct ckpt_thread_ahead *x = a, *y = b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

void ckpt_threads_ahead_sort(struct ckpt_threads_ahead *ahead)
{
	if (ahead->n)
		qsort(ahead->v, ahead->n, sizeof(*ahead->v), by_number);
}

const struct ckpt_thread_ahead *ckpt_threads_ahead_find(const struct ckpt_threads_ahead *ahead,
							pid_t tid)
{
	const struct ckpt_thread_ahead key = { .tid = tid };

	return ahead && ahead->n ? bsearch(&key, ahead->v, ahead->n, sizeof(key), by_number) : NULL;
}

void ckpt_threads_ahead_close(struct ckpt_threads_ahead *ahead)
{
	for (size_t i = 0; ahead && i < ahead->n; i++)
		close_all(&ahead->v[i]);
}
