/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <sched.h>

/* That this process may run on. */
static inline unsigned int ckpt_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);
}
