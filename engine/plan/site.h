/* SPDX-License-Identifier: Apache-2.0 */
/* Where a step of the plan runs, for create(), link() and attach() of a kind. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

struct ckpt_site;

struct ckpt_site_ops {
	/* The descriptor of an object that exists, in the bank. Borrowed. -1 with an error if there
	 * is none. */
	int (*fd_of)(struct ckpt_site *site, uint32_t object, struct ckpt_err *err);
	/* Hands over an object made along with another one. Takes FD. The engine sets its flags and
	 * position. */
	int (*put)(struct ckpt_site *site, uint32_t object, int fd, struct ckpt_err *err);
	/* Has the owning task (attach() only) descriptor NUMBER at the end? */
	bool (*number_used)(struct ckpt_site *site, int number);
	/* Remembers that PATH was created (or moved aside from ASIDE) and has to be undone should
	 * the restore fail. */
	int (*made_path)(struct ckpt_site *site, const char *path, const char *aside,
			 struct ckpt_err *err);
	/* The same of what is no path: UNDO(ARG) is called. */
	void (*on_failure)(struct ckpt_site *site, void (*undo)(int64_t arg), int64_t arg);
};

struct ckpt_site {
	const struct ckpt_site_ops *ops;
	const struct ckpt_snapshot *snap;
	const struct ckpt_task *task; /* attach(): the task that it runs in */
	bool shell_job;
};
