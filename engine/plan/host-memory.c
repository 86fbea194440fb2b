/* SPDX-License-Identifier: Apache-2.0 */
/* What this kernel can do with memory: tried on a page of our own. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/plan/host.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#define GUARD_INSTALL 102  /* MADV_GUARD_INSTALL: Linux 6.13 */
#define SYS_MSEAL 462      /* Linux 6.10 */
#define SET_VMA 0x53564d41 /* PR_SET_VMA: Linux 5.17, and a choice of its configuration */

static bool can_map_droppable(void)
{
	void *p = mmap(NULL, CKPT_PAGE, PROT_READ, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		munmap(p, CKPT_PAGE);
	return p != MAP_FAILED;
}

void ckpt_host_probe_memory(struct ckpt_host *h)
{
	char *p = mmap(NULL, CKPT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	h->has_guards = madvise(p, CKPT_PAGE, GUARD_INSTALL) == 0;
	h->has_area_names = prctl(SET_VMA, 0, p, CKPT_PAGE, "ckpt") == 0;
	munmap(p, CKPT_PAGE);
	/* Of nothing: says -EINVAL where it is known and the flags are not. */
	h->has_mseal = syscall(SYS_MSEAL, 0, 0, 1) < 0 && errno == EINVAL;
	h->has_droppable = can_map_droppable();
}
