/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlockall(2) with MCL_FUTURE. The kernel does not tell whether it is in force: the process maps a
 * page, looks whether it is locked, and unmaps it. What is locked already is a flag of each area.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "engine/capture/state.h"

static int ask(struct ckpt_collect *c, long nr, const uint64_t arg[6], int64_t *retp,
	       struct ckpt_err *err)
{
	return ckpt_call(c, nr, arg, -1, NULL, 0, retp, err);
}

/* AT is a new page. */
static int look(struct ckpt_collect *c, uint64_t at, uint32_t *flagsp, struct ckpt_err *err)
{
	unsigned char in_core = 0;
	int64_t ret;
	int r = ask(c, SYS_msync, (uint64_t[6]){ at, CKPT_PAGE, MS_INVALIDATE }, &ret, err);

	*flagsp = 0;
	if (r < 0 || ret != -EBUSY) /* it is not locked */
		return r;
	r = ckpt_call(c, SYS_mincore, (uint64_t[6]){ at, CKPT_PAGE }, 2, &in_core, 1, &ret, err);
	*flagsp = in_core & 1 ? MCL_FUTURE : MCL_FUTURE | MCL_ONFAULT;
	return r;
}

int ckpt_capture_future_locks(struct ckpt_capture *c, struct ckpt_capture_task *t,
			      struct ckpt_err *err)
{
	struct ckpt_collect cc = ckpt_collect_of(c, t->frozen->pid, t->frozen->tids[0]);
	Ckpt__Mm *mm = t->task->mm;
	int64_t at, ret;
	int r = ask(&cc, SYS_mmap,
		    (uint64_t[6]){ 0, CKPT_PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS },
		    &at, err);

	if (r < 0)
		return r;
	if (at < 0 && at > -4096) {
		ckpt_capture_lost(c,
				  "%s: whether what it maps from now on is locked: it can map "
				  "nothing more",
				  t->who);
		return 0;
	}
	r = look(&cc, at, &mm->lock_future, err);
	mm->has_lock_future = mm->lock_future != 0;
	if (r >= 0)
		r = ask(&cc, SYS_munmap, (uint64_t[6]){ at, CKPT_PAGE }, &ret, err);
	return r;
}
