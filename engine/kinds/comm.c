/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a thread: any bytes, newlines too. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/comm.pb-c.h"

#define NAME_SIZE 16 /* TASK_COMM_LEN, with the NUL */

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Comm *m = (void *)msg;
	size_t len;
	char *text;
	int r = ckpt_proc_text(c, "comm", &text, &len, err);

	if (r < 0)
		return r;
	if (!len || text[len - 1] != '\n' || len > NAME_SIZE)
		return ckpt_fail(err, -EBADMSG, "comm: %zu bytes", len);
	m->name.data = (uint8_t *)text;
	m->name.len = len - 1;
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Comm *m = (const void *)obj->msg;
	char name[NAME_SIZE] = "";

	if (m->name.len >= sizeof(name))
		return ckpt_fail(err, -EBADMSG, "comm %u: %zu bytes", obj->id, m->name.len);
	if (m->name.len)
		memcpy(name, m->name.data, m->name.len);
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
		       (int64_t[6]){ PR_SET_NAME, ckpt_late_data(p, name, sizeof(name)) });
	return 0;
}

const struct ckpt_kind ckpt_kind_comm = {
	.name = "comm",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__comm__descriptor,
	.collect = collect,
	.plan = plan,
};
