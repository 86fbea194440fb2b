/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a context of io_setup(2), as the kernel has it since Linux 2.6: completed requests
 * that nobody has asked for yet. The program may read it, too. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "proto/memory.pb-c.h"

struct ckpt_ring {
	uint32_t id; /* the kernel's own number of it */
	uint32_t n;  /* events that there is room for, one less at a time */
	uint32_t head, tail;
	uint32_t magic, compatible, incompatible, header_len;
};
#define CKPT_RING_EVENT 32u /* bytes; so many has the header */
#define CKPT_RING_MAX (16u << 20)

/* Is that what a kernel has in LEN bytes? */
static inline bool ckpt_ring_sane(const struct ckpt_ring *r, uint64_t len)
{
	return len <= CKPT_RING_MAX && r->magic == 0xa10a10a1 && !r->incompatible &&
	       r->header_len == sizeof(*r) && r->n == len / CKPT_RING_EVENT - 1 && r->head < r->n &&
	       r->tail < r->n;
}

/* The same of an image. */
static inline bool ckpt_ring_of(const Ckpt__Area *a, struct ckpt_ring *r)
{
	if (a->ring.len < sizeof(*r) || a->ring.len > a->end - a->start)
		return false;
	memcpy(r, a->ring.data, sizeof(*r));
	return ckpt_ring_sane(r, a->end - a->start);
}
