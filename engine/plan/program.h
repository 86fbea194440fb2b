/* SPDX-License-Identifier: Apache-2.0 */
/* The last stage of one task, ready to be copied to its place: data, and a vector for each thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/plan/sysvec.h"

struct ckpt_task_program {
	const uint8_t *bytes; /* to be copied to layout->home */
	size_t len;
	uint64_t entry;                    /* vector of the leader */
	uint64_t stack;                    /* its stack pointer */
	const struct ckpt_sv_call *parked; /* made by the coordinator when all threads are at rest
					    */
	size_t n_parked;
	const uint64_t *vec; /* address of each thread's vector, to name a failed entry */
};
