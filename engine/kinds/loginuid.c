/* SPDX-License-Identifier: Apache-2.0 */
/* The user who logged in, by whom audit names what a process does. Once it is set only the
 * privileged may change it. The number of the audit session is the kernel's choice. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/loginuid.pb-c.h"

#define UNSET UINT32_MAX
#define OWN "/proc/self/loginuid"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	char *text;
	const char *s;
	uint64_t uid;
	int r = ckpt_proc_text(c, "loginuid", &text, NULL, err);

	if (r == -ENOENT) /* a kernel without audit */
		return 1;
	if (r < 0)
		return r;
	s = text;
	if (!ckpt_parse_u64(&s, 10, &uid) || uid > UNSET)
		return ckpt_fail(err, -EBADMSG, "loginuid: cannot read the number");
	((Ckpt__Loginuid *)msg)->uid = uid;
	return uid == UNSET;
}

/* Of this process; unset where there is none. */
static uint32_t own_uid(void)
{
	char text[16] = "";
	const char *s = text;
	uint64_t uid;
	CKPT_FD fd = open(OWN, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || !ckpt_parse_u64(&s, 10, &uid))
		return UNSET;
	return uid;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Loginuid *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);
	uint32_t own;

	if (!task || m->uid == UNSET)
		return ckpt_fail(err, -EBADMSG, "loginuid %u: unset", obj->id);
	if (!host)
		return 0;
	own = own_uid();
	if (own != m->uid && (host->box || access(OWN, W_OK) < 0 ||
			      (own != UNSET && !ckpt_host_has_init_cap(host, CAP_AUDIT_CONTROL))))
		ckpt_loss(p, "process %d: its login uid %u, by which audit knows it", task->pid,
			  m->uid);
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Loginuid *m = (const void *)obj->msg;
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", m->uid);

	(void)site;
	if (own_uid() == m->uid)
		return 0;
	CKPT_FD fd = open(OWN, O_WRONLY | O_CLOEXEC);
	/* What the plan has called a loss. */
	if (fd < 0 || (write(fd, text, n) < 0 && (errno == EPERM || errno == EINVAL)))
		return 0;
	return own_uid() == m->uid ? 0 : ckpt_fail(err, -EIO, OWN ": cannot set %u", m->uid);
}

const struct ckpt_kind ckpt_kind_loginuid = {
	.name = "loginuid",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__loginuid__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
