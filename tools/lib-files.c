/* SPDX-License-Identifier: Apache-2.0 */
/* Options about files, as the engine takes them. */
#include <string.h>
#include "tools/ckpt.h"

struct ckpt_file_policy ckpt_tool_file_policy(const struct ckpt_options *o)
{
	return (struct ckpt_file_policy){ .ghost_limit = o->ghost_limit,
					  .no_link = !o->link_remap };
}
