/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The label that a security module (SELinux, AppArmor, Smack) confines a thread by. It is kept and
 * compared: who restores has to run under the same one already, since what a thread may do under
 * its own is not enough to be put together again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/label.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/label.pb-c.h"

#define LABEL_MAX 4096
#define NO_LABEL "unconfined" /* AppArmor's word for it */

/* *TEXTP is "" where this module knows no such label. */
static int get(struct ckpt_collect *c, const char *which, char **textp, struct ckpt_err *err)
{
	struct ckpt_err why = CKPT_ERR_INIT;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "attr/%s", which);
	r = ckpt_proc_text(c, name, textp, NULL, &why);
	if (r == -EINVAL || r == -ENOENT || r == -EOPNOTSUPP) {
		*textp = ckpt_alloc(c->arena, 1);
		return 0;
	}
	if (r < 0) {
		*err = why;
		return r;
	}
	ckpt_label_cut(*textp);
	return 0;
}

/* Labels that are chosen for what comes next. */
static int check_chosen(struct ckpt_collect *c, struct ckpt_err *err)
{
	static const char *const names[] = { "exec", "fscreate", "keycreate", "sockcreate" };
	char *text;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		r = get(c, names[i], &text, err);
		if (r >= 0 && text[0])
			r = ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
					"it has chosen a label for what comes next "
					"(/proc/PID/attr/%s: %s)",
					names[i], text);
	}
	return r;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Label *m = (void *)msg;
	int r;

	if (!ckpt_has_labels(c))
		return 1;
	r = get(c, "current", &m->current, err);
	if (r >= 0)
		r = check_chosen(c, err);
	return r < 0 ? r : !m->current[0];
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Label *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (!task || strlen(m->current) > LABEL_MAX)
		return ckpt_fail(err, -EBADMSG, "label %u: of no task, or too long", obj->id);
	if (!host || (host->label && !strcmp(host->label, m->current)))
		return 0;
	if (host->label)
		ckpt_problem(p, CKPT_E_LABEL, "process %d: thread %d ran as %s, this restore as %s",
			     task->pid, obj->tid, m->current, host->label);
	else if (strcmp(m->current, NO_LABEL))
		ckpt_loss(p,
			  "process %d: thread %d ran as %s, and no security module here knows that",
			  task->pid, obj->tid, m->current);
	return 0;
}

const struct ckpt_kind ckpt_kind_label = {
	.name = "label",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__label__descriptor,
	.collect = collect,
	.plan = plan,
};
