/* SPDX-License-Identifier: Apache-2.0 */
/* A program that has asked for a checkpoint by itself is told why there will be none, where the
 * engine has failed before it came to ask: it stands for a moment, for nothing but that word. */
#include <pthread.h>
#include "injector/inside-tree.h"

#define WAIT_S 2

int ckpt_inside_tell(struct ckpt_arena *arena, pid_t pid, const char *why, struct ckpt_log *log,
		     struct ckpt_err *err)
{
	struct ckpt_inside in = {
		.arena = arena,
		.opts = { .answer = true, .one = true, .wait_s = WAIT_S },
		.log = log,
		.root = pid,
		.listener = -1,
	};
	int r = ckpt_inside_check(pid, &in.opts.signal, err);

	in.last = &in.members;
	pthread_mutex_init(&in.lock, NULL);
	if (r >= 0)
		r = ckpt_inside_stop(&in, err);
	if (r >= 0)
		ckpt_inside_let_go(&in, false, why);
	return r;
}
