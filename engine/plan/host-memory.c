/* SPDX-License-Identifier: Apache-2.0 */
/* What this kernel can do with memory: tried on a page of our own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "engine/plan/host.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#define GUARD_INSTALL 102  /* MADV_GUARD_INSTALL: Linux 6.13 */
#define SYS_MSEAL 462      /* Linux 6.10 */
#define FUTEX_HASH 78      /* PR_FUTEX_HASH: Linux 6.16; 2: how many slots */
#define SET_VMA 0x53564d41 /* PR_SET_VMA: Linux 5.17, and a choice of its configuration */

static bool can_map_droppable(void)
{
	void *p = mmap(NULL, CKPT_PAGE, PROT_READ, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		munmap(p, CKPT_PAGE);
	return p != MAP_FAILED;
}

static uint64_t read_number(int dir, const char *name)
{
	char text[24];
	CKPT_FD fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return strtoull(text, NULL, 10);
}

/* What is free and not promised to others, and what the kernel may still make of other memory. */
static void probe_huge(struct ckpt_host *h, unsigned int shift)
{
	struct ckpt_huge_pool *pool = &h->huge[h->n_huge];
	uint64_t promised;
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB",
		 (1ull << shift) / 1024);
	CKPT_FD dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	promised = read_number(dir, "resv_hugepages") + read_number(dir, "surplus_hugepages");
	pool->shift = shift;
	pool->free =
		read_number(dir, "free_hugepages") + read_number(dir, "nr_overcommit_hugepages");
	pool->free -= promised < pool->free ? promised : pool->free;
	h->n_huge++;
}

/* Who reads gets huge pages where the machine always gives them. */
static bool has_huge_always(void)
{
	CKPT_FD fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "[always]") != NULL;
}

static bool can_fill(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	CKPT_FD fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && !has_huge_always();
}

void ckpt_host_probe_memory(struct ckpt_host *h)
{
	static const unsigned int shifts[] = { 21, 30 };
	char *p = mmap(NULL, CKPT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++)
		probe_huge(h, shifts[i]);
	if (p == MAP_FAILED)
		return;
	h->has_guards = madvise(p, CKPT_PAGE, GUARD_INSTALL) == 0;
	h->has_area_names = prctl(SET_VMA, 0, p, CKPT_PAGE, "ckpt") == 0;
	munmap(p, CKPT_PAGE);
	/* Of nothing: says -EINVAL where it is known and the flags are not. */
	h->has_mseal = syscall(SYS_MSEAL, 0, 0, 1) < 0 && errno == EINVAL;
	h->has_futex_slots = prctl(FUTEX_HASH, 2, 0, 0, 0) >= 0;
	h->has_droppable = can_map_droppable();
	h->can_fill = can_fill();
}
