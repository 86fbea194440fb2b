/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: the two files of an image while they are being written. */
#pragma once
#include <stdbool.h>
#include "engine/base/err.h"

struct ckpt_temp {
	int dirfd;       /* borrowed */
	const char *dir; /* its name, for messages */
	int image_fd, pages_fd;
	char image[48], pages[48];     /* names in the folder */
	bool image_there, pages_there; /* under these names */
};

/* Creates both, empty and locked. The lock goes with the descriptor: a file whose lock can be had
 * has no writer. */
int ckpt_temp_create(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err);
/* Takes away what writers that died left behind, also half of a commit. Errors are ignored. */
void ckpt_temp_sweep(int dirfd);

/* ---- publish.c ---- */
/* Both of that, where there is no image yet. */
int ckpt_temp_begin(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err);
/* On the disk. PAGES: there are any. */
int ckpt_temp_sync(const struct ckpt_temp *temp, bool pages, struct ckpt_err *err);
/* They are an image now; after a failure there is nothing of it. */
int ckpt_temp_publish(struct ckpt_temp *temp, bool pages, struct ckpt_err *err);
/* Always: closes, and removes what was not published. */
void ckpt_temp_end(struct ckpt_temp *temp);
