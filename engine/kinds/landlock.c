/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: a domain cannot be read, and nothing in /proc shows it. But whoever is in one must not
 * look at processes outside of it: so each thread tries, with a question that is never answered.
 */
#include <errno.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/capture/witness.h"
#include "engine/model/kind.h"
#include "proto/landlock.pb-c.h"

/* get_robust_list(2) with nowhere to put the list: EFAULT for whoever may know, else EPERM. */
static int may_look(struct ckpt_collect *c, pid_t pid, bool *mayp, struct ckpt_err *err)
{
	int64_t ret;
	int r = ckpt_call(c, SYS_get_robust_list, (uint64_t[6]){ pid }, -1, NULL, 0, &ret, err);

	*mayp = r < 0 || ret != -EPERM;
	/* A filter that forbids the question. */
	return r < 0 && err->number != CKPT_E_SECCOMP ? r : 0;
}

static int not_told(struct ckpt_collect *c, const char *why)
{
	ckpt_lost(c, "process %d: thread %d: whether it is in a Landlock domain: %s", c->pid,
		  c->tid, why);
	return 1;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	struct ckpt_creds *creds;
	bool may, may_itself;
	pid_t witness;
	int r = ckpt_status_creds(c, &creds, err);

	(void)msg;
	if (r < 0)
		return r;
	witness = ckpt_witness(c, creds);
	if (!witness)
		return not_told(c, "there is nobody whom it might look at");
	r = may_look(c, witness, &may, err);
	if (r < 0 || may)
		return r < 0 ? r : 1;
	/* Not where a filter answers so to everything. */
	r = may_look(c, 0, &may_itself, err);
	if (r < 0 || !may_itself)
		return r < 0 ? r : 1;
	if (ckpt_has_labels(c))
		return not_told(c, "its label, too, may keep it from looking at others");
	return ckpt_refuse(err, CKPT_E_LANDLOCK, -EOPNOTSUPP, "it is in a Landlock domain");
}

const struct ckpt_kind ckpt_kind_landlock = {
	.name = "landlock",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__landlock__descriptor,
	.collect = collect,
};
