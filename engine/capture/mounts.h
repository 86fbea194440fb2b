/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/self/mountinfo, line by line. */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct ckpt_mount {
	int id;
	dev_t dev; /* of the file system, which is not always the st_dev of its files */
	char root[PATH_MAX], point[PATH_MAX];
};

/* The next one in the text at *TEXTP, which is moved on; false: there are no more. */
bool ckpt_mount_next(const char **textp, struct ckpt_mount *m);
