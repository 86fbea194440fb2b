/* Facts about this machine and about this process, probed once. The one impure part of planning. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "proto/memory.pb-c.h"

struct ckpt_host {
	uid_t uid;
	gid_t gid;
	uint64_t caps;                          /* effective, bit CAP_* */
	struct rlimit64 limits[RLIM_NLIMITS];   /* of this process */
	pid_t sid, pgid;
	bool box;                               /* pids may not be chosen here: the restore makes a user and a pid namespace */
	bool stdin_is_tty;
	uint64_t xfeatures;                     /* of this processor that the kernel lets programs use (XCR0) */
	Ckpt__Area *areas;                      /* of this process: what the tasks have to get rid of; vDSO and vvar by name */
	size_t n_areas;
	uint8_t *vdso;                          /* bytes of this kernel's vDSO */
	size_t vdso_len;
	bool *pid_taken;                        /* for tasks[i] of the snapshot and its threads, pgid and sid: any of them taken */
	bool has_timer_restore_ids;             /* PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15 */
};

int ckpt_host_probe(struct ckpt_host **hostp, struct ckpt_arena *arena, const struct ckpt_snapshot *snap, struct ckpt_err *err);
static inline bool ckpt_host_has_cap(const struct ckpt_host *h, int cap)
{
	return h->caps >> cap & 1;
}
