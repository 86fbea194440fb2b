/* SPDX-License-Identifier: Apache-2.0 */
/* Where a step of the plan runs, for create(), link() and attach() of a kind. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

struct ckpt_site;

/* What is done to a file when the restore is decided and nothing of the tree runs yet. */
struct ckpt_at_commit {
	const char *path;
	const char *from; /* is renamed to PATH; NULL: PATH is cut to SIZE bytes */
	uint64_t size;
};

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
	/* Has that done. Strings are copied. */
	int (*at_commit)(struct ckpt_site *site, const struct ckpt_at_commit *c,
			 struct ckpt_err *err);
	/* Keeps the other end of what create() makes, until the task runs its program. Takes FD. */
	int (*keep)(struct ckpt_site *site, uint32_t object, int fd, struct ckpt_err *err);
	/* What was kept. Borrowed. */
	int (*kept)(struct ckpt_site *site, uint32_t object, struct ckpt_err *err);
};

struct ckpt_site {
	const struct ckpt_site_ops *ops;
	const struct ckpt_snapshot *snap;
	const struct ckpt_task *task; /* attach(): the task that it runs in */
	bool shell_job;
	const bool *content_unused;           /* of the plan; may be NULL */
	const struct ckpt_restore_opts *opts; /* may be NULL */
};
