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

/* "Name:" is the first line of status, which is read anyway: with a newline as "\n" and a backslash
 * as two. Returns its length, -1: that is no name. */
static int parse(const char *status, char name[NAME_SIZE])
{
	static const char head[] = "Name:\t";
	const char *p = status + sizeof(head) - 1;
	int n = 0;

	if (strncmp(status, head, sizeof(head) - 1))
		return -1;
	for (; *p && *p != '\n' && n < NAME_SIZE; p++) {
		char ch = *p;

		if (ch == '\\') {
			ch = *++p == 'n' ? '\n' : *p;
			if (ch != '\n' && ch != '\\')
				return -1;
		}
		name[n++] = ch;
	}
	return *p == '\n' && n < NAME_SIZE ? n : -1;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Comm *m = (void *)msg;
	char name[NAME_SIZE];
	const char *status;
	int r = ckpt_status_text(c, &status, err);

	if (r < 0)
		return r;
	r = parse(status, name);
	if (r < 0)
		return ckpt_fail(err, -EBADMSG, "status: cannot read \"Name:\"");
	m->name.len = r;
	m->name.data = memcpy(ckpt_alloc(c->arena, r), name, r);
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
	.of_ended = true,
	.message = &ckpt__comm__descriptor,
	.collect = collect,
	.plan = plan,
};
