/* SPDX-License-Identifier: Apache-2.0 */
/* A frozen process tree as plain data. Built by capture or by reading a store; const afterwards. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arch/x86-64.h"
#include "engine/model/object.h"
#include "proto/memory.pb-c.h"
#include "proto/tree.pb-c.h"

struct ckpt_fd {
	int number;
	bool cloexec;
	uint32_t object; /* a CKPT_PER_FILE object */
};

struct ckpt_thread {
	pid_t tid;
	bool ended; /* a main thread that others have outlived: it has no registers */
	struct ckpt_regs regs;
	struct ckpt_object **state; /* CKPT_PER_THREAD objects, in the order of ckpt_kinds[] */
	size_t n_state;
};

struct ckpt_task {
	uint32_t id;     /* 1.. */
	uint32_t parent; /* 0 for the root of the tree */
	pid_t pid, pgid, sid;
	enum ckpt_task_state { CKPT_RUNNING, CKPT_STOPPED, CKPT_ZOMBIE } run_state;
	int stop_signal; /* CKPT_STOPPED */
	int exit_status; /* CKPT_ZOMBIE: as wait(2) gives it; or of a main thread that has ended */
	uint32_t shares; /* with its parent: CLONE_FS, CLONE_FILES */
	char comm[16];
	struct ckpt_fd *fds; /* by number */
	size_t n_fds;
	struct ckpt_thread *threads; /* the leader first; none of a zombie */
	size_t n_threads;
	struct ckpt_object **state; /* CKPT_PER_TASK objects, in the order of ckpt_kinds[] */
	size_t n_state;
	Ckpt__Mm *mm;            /* NULL of a zombie */
	struct ckpt_pages pages; /* contents of its private areas */
};

/* The first thread that lives. */
static inline const struct ckpt_thread *ckpt_task_acts(const struct ckpt_task *task)
{
	return &task->threads[task->threads[0].ended ? 1 : 0];
}

struct ckpt_snapshot {
	Ckpt__Inventory *inventory;
	struct ckpt_object **objects; /* objects[id - 1]->id == id */
	size_t n_objects;
	struct ckpt_task **tasks; /* parents before children; tasks[id - 1]->id == id */
	size_t n_tasks;
	struct ckpt_pages_part *parts; /* of an image: where its pages are; borrowed descriptors */
	size_t n_parts;
	const char **lost; /* what the dump saw and could not keep */
	size_t n_lost;
};

/* The tasks in the order of their tree, children behind their parent, NULL behind the last. The
 * caller frees it; NULL: no memory. */
const struct ckpt_task **ckpt_snapshot_tree(const struct ckpt_snapshot *snap);
