/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyrings of a thread and of its process: the kernel gives no key away, so they are named as lost.
 * That of the session is not asked for, since asking makes one where there is none.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/kind.h"
#include "proto/keyrings.pb-c.h"

/* Not where a filter forbids the question; EACCES is an answer: there is one, which may not even be
 * searched. */
static int ask(struct ckpt_collect *c, int which, protobuf_c_boolean *hasp, struct ckpt_err *err)
{
	int64_t ret;
	int r = ckpt_call(c, SYS_keyctl, (uint64_t[6]){ KEYCTL_GET_KEYRING_ID, (uint32_t)which },
			  -1, NULL, 0, &ret, err);

	if (r < 0)
		return err->number == CKPT_E_SECCOMP ? 0 : r;
	*hasp = ret >= 0 || ret == -EACCES;
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Keyrings *m = (void *)msg;
	int r = ask(c, KEY_SPEC_THREAD_KEYRING, &m->of_thread, err);

	if (r >= 0 && c->tid == c->pid)
		r = ask(c, KEY_SPEC_PROCESS_KEYRING, &m->of_process, err);
	if (m->of_thread)
		ckpt_lost(c, "process %d: thread %d: the keys of its own keyring", c->pid, c->tid);
	if (m->of_process)
		ckpt_lost(c, "process %d: the keys of its own keyring", c->pid);
	m->has_of_thread = m->of_thread;
	m->has_of_process = m->of_process;
	return r < 0 ? r : !m->of_thread && !m->of_process;
}

const struct ckpt_kind ckpt_kind_keyrings = {
	.name = "keyrings",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__keyrings__descriptor,
	.collect = collect,
};
