/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a process that goes wrong: how soon it is killed when memory is short, and what
 * is dumped of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/host.h"
#include "engine/plan/site.h"
#include "proto/oom.pb-c.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Oom *m = (void *)msg;
	char *adj, *filter;
	size_t len;
	int64_t score;
	uint64_t bits;
	const char *s;
	int r = ckpt_proc_text(c, "oom_score_adj", &adj, &len, err);

	if (r < 0)
		return r;
	s = adj;
	if (!ckpt_parse_i64(&s, 10, &score))
		return ckpt_fail(err, -EBADMSG, "oom_score_adj: cannot read the number");
	m->score_adj = score;
	r = ckpt_proc_text(c, "coredump_filter", &filter, &len, err);
	if (r == -ENOENT) /* a kernel without core dumps */
		return 0;
	if (r < 0)
		return r;
	s = filter;
	if (!ckpt_parse_u64(&s, 16, &bits))
		return ckpt_fail(err, -EBADMSG, "coredump_filter: cannot read the number");
	m->has_coredump_filter = true;
	m->coredump_filter = bits;
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Oom *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (!task || m->score_adj < -1000 || m->score_adj > 1000)
		return ckpt_fail(err, -EBADMSG, "oom %u: score %d", obj->id, m->score_adj);
	if (host && m->score_adj < host->oom_score_adj &&
	    !ckpt_host_has_init_cap(host, CAP_SYS_RESOURCE))
		ckpt_loss(p,
			  "process %d: oom_score_adj %d stays at %d, less takes cap_sys_resource",
			  task->pid, m->score_adj, host->oom_score_adj);
	return 0;
}

static int write_text(const char *path, const char *text, int len, struct ckpt_err *err)
{
	CKPT_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return ckpt_fail(err, -errno, "%s: cannot open", path);
	if (write(fd, text, len) != len)
		return ckpt_fail(err, -errno, "%s: cannot write %s", path, text);
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Oom *m = (const void *)obj->msg;
	struct ckpt_err ignored;
	char text[16];
	int r;

	(void)site;
	r = snprintf(text, sizeof(text), "%d", m->score_adj);
	r = write_text("/proc/self/oom_score_adj", text, r, &ignored);
	/* EACCES is the loss that the plan has announced; if it was too pessimistic, so much the
	 * better. */
	if (r < 0 && r != -EACCES)
		return ckpt_fail(err, r, "/proc/self/oom_score_adj: cannot set %d", m->score_adj);
	if (!m->has_coredump_filter)
		return 0;
	r = snprintf(text, sizeof(text), "%#x", m->coredump_filter);
	return write_text("/proc/self/coredump_filter", text, r, err);
}

const struct ckpt_kind ckpt_kind_oom = {
	.name = "oom",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__oom__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
