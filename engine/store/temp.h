/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: the two files of an image while they are being written. */
#pragma once
#include "engine/base/err.h"

struct ckpt_temp {
	int image_fd, pages_fd;
	char image[48], pages[48]; /* names in the folder */
};

/* Creates both, empty and locked. The lock goes with the descriptor: a file whose lock can be had
 * has no writer. */
int ckpt_temp_create(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err);
/* Takes away what writers that died left behind, also half of a commit. Errors are ignored. */
void ckpt_temp_sweep(int dirfd);
