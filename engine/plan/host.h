/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about this machine and about this process, probed once. The one impure part of planning. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/clocks.h"
#include "engine/base/creds.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "proto/memory.pb-c.h"

#define CKPT_CPU_BYTES 1024 /* 8192 CPUs, the most that x86-64 can have */
#define CKPT_NODE_BYTES 128 /* 1024 nodes of memory, the same */

struct ckpt_host {
	uid_t uid;
	gid_t gid;
	uint64_t caps;                        /* effective, bit CAP_* */
	struct rlimit64 limits[RLIM_NLIMITS]; /* of this process */
	pid_t sid, pgid;
	bool box; /* pids may not be chosen here: the restore makes a user and a pid namespace */
	bool stdin_is_tty;
	uint64_t xfeatures; /* of this processor that the kernel lets programs use (XCR0) */
	Ckpt__Area *areas;  /* of this process: what the tasks have to get rid of; vDSO and vvar by
			       name */
	size_t n_areas;
	uint8_t *vdso; /* bytes of this kernel's vDSO */
	size_t vdso_len;
	bool *pid_taken; /* for tasks[i] of the snapshot and its threads, pgid and sid: any of them
			    taken */
	int64_t clock_ns[CKPT_N_CLOCKS]; /* now */
	bool has_time_ns;                /* Linux 5.6 */
	bool has_timer_restore_ids;      /* PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15 */

	/* By ckpt_host_probe_creds(): what a restored task starts with. */
	struct ckpt_creds creds;
	int last_cap;     /* the highest CAP_* of this kernel */
	bool init_userns; /* capabilities of this process count outside of its user namespace too */
	int policy, nice, rt_priority;  /* sched_getattr(2) of this process */
	uint8_t cpus[CKPT_CPU_BYTES];   /* online; bit n of byte n/8 is CPU n */
	uint8_t nodes[CKPT_NODE_BYTES]; /* of memory that we may use; bit n of byte n/8 is node n */
	int mempolicy;                  /* get_mempolicy(2); 0: the default, or a kernel without */
	int oom_score_adj;
	const char *label; /* that a security module confines this process by; NULL: none does */
	bool filtered;     /* by seccomp, as all that is restored will be */
	uint64_t nr_open;  /* the most that RLIMIT_NOFILE may be; 0: unknown */
	/* PR_SET_SPECULATION_CTRL has an effect for them. */
	bool can_store_bypass, can_indirect_branch, can_flush_l1d;
	bool has_clamps; /* utilization clamps of sched_setattr(2) */
	/* By ckpt_host_probe_memory(): what can be done with an area. */
	struct ckpt_huge_pool {
		unsigned int shift;
		uint64_t free; /* pages that a program could still get */
	} huge[4];
	size_t n_huge;
	bool has_guards, has_mseal, has_droppable, has_area_names;
	bool has_futex_slots; /* PR_FUTEX_HASH */
	bool can_fill; /* processes can be filled with pages, and lose no huge ones by that */
};

/* Waits until the parents of those who have died with a number of SNAP's have taken note of that,
 * as shells and init are about to do after a dump; NS at most. */
void ckpt_host_await_reapers(const struct ckpt_snapshot *snap, uint64_t ns);
/* Awaits them for a second. */
int ckpt_host_probe(struct ckpt_host **hostp, struct ckpt_arena *arena,
		    const struct ckpt_snapshot *snap, struct ckpt_err *err);
/* Its part that concerns credentials, scheduling and limits; called by ckpt_host_probe(). */
int ckpt_host_probe_creds(struct ckpt_host *h, struct ckpt_arena *arena, struct ckpt_err *err);
void ckpt_host_probe_memory(struct ckpt_host *h);
static inline bool ckpt_host_has_cap(const struct ckpt_host *h, int cap)
{
	return h->caps >> cap & 1;
}
/* For what the kernel asks of the first user namespace: limits, priorities, the OOM score. */
static inline bool ckpt_host_has_init_cap(const struct ckpt_host *h, int cap)
{
	return h->init_userns && !h->box && ckpt_host_has_cap(h, cap);
}
