/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a tree that is restored and the machine that has its memory yet (lend.h): chunks that the
 * one asks for are fetched from the other, the rest meanwhile, compared with the checksums of the
 * image and put into a file in memory that the restored side reads (engine/store/lent.h). What both
 * sides say of the handover is passed on.
 */
#pragma once
#include "engine/base/log.h"
#include "engine/store/image.h"

struct ckpt_borrow {
	struct ckpt_image *img; /* its records; pages may be missing if there is a server */
	int server;             /* who lends them; -1: they are in the folder */
	const char *server_name;
	/* Waits for one who restores, and asks GO_ON meanwhile; returns a Unix socket. */
	int (*accept)(void *arg, int (*go_on)(void *arg, struct ckpt_err *err), void *go_on_arg,
		      struct ckpt_err *err);
	/* Between steps; a failure ends it. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *arg;
	struct ckpt_log *log;
};

/* Until a restored tree has all that it needs. */
int ckpt_borrow_run(const struct ckpt_borrow *opts, struct ckpt_err *err);
