/* SPDX-License-Identifier: Apache-2.0 */
/* Finds a kind by the name that images use. */
#include <string.h>
#include "engine/model/kind.h"

const struct ckpt_kind *ckpt_kind_find(const char *name)
{
	for (unsigned int i = 0; i < ckpt_n_kinds; i++) {
		if (!strcmp(ckpt_kinds[i]->name, name))
			return ckpt_kinds[i];
	}
	return NULL;
}
