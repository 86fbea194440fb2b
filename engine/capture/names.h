/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a file that its link does not tell. */
#pragma once
#include <stdbool.h>
#include "engine/capture/collect.h"

/* Another name in the same folder, NULL if there is none. */
const char *ckpt_name_beside(struct ckpt_collect *c, const char *path);
/*
 * *OTHERP, in the arena, is a path that leads to c's file, which PATH does not any more: another
 * name in the same folder, another mount, or, where the policy allows that, a name that was given
 * to it now. *MADEP tells the last. An error names why there is none.
 */
int ckpt_other_name(struct ckpt_collect *c, const char *path, const char **otherp, bool *madep,
		    struct ckpt_err *err);
