/* SPDX-License-Identifier: Apache-2.0 */
/* Does an open file still lie where its link says? */
#pragma once
#include "engine/capture/collect.h"

enum ckpt_path_state {
	CKPT_PATH_SAME,    /* the path leads to it */
	CKPT_PATH_DELETED, /* no name of it is left anywhere */
	CKPT_PATH_LOST,    /* it has a name, but none that is known; or another file has taken its
			      place */
};

/* Does PATH, whose last part is no link, lead to the file of ST? */
bool ckpt_path_leads_to(const char *path, const struct stat *st);

/* The path of c's file without the " (deleted)" of the kernel, in the arena, and what it is worth.
 */
enum ckpt_path_state ckpt_path_of(struct ckpt_collect *c, const char **pathp);
