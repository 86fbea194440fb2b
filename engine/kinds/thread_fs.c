/* SPDX-License-Identifier: Apache-2.0 */
/* Working directory, root and umask of a thread that called unshare(CLONE_FS), as file servers do
 * to act for one client each. */
#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/capture/fs.h"
#include "engine/model/object.h"
#include "engine/plan/fs.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Fs *m = (void *)msg;
	int r;

	if (!ckpt_fs_is_apart(c))
		return 1;
	r = ckpt_fs_collect(c, m, err);
	if (r >= 0 && m->has_cwd_mode)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "its own working directory is gone: %s", m->cwd);
	return r;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fs *m = (const void *)obj->msg;
	int r = ckpt_fs_plan(p, obj, err);

	if (r < 0)
		return r;
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_unshare, (int64_t[6]){ CLONE_FS });
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_chdir,
		       (int64_t[6]){ ckpt_late_data(p, m->cwd, strlen(m->cwd) + 1) });
	ckpt_fs_emit(p, CKPT_AFTER_MEMORY, m);
	return 0;
}

const struct ckpt_kind ckpt_kind_thread_fs = {
	.name = "thread_fs",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__fs__descriptor,
	.collect = collect,
	.plan = plan,
};
