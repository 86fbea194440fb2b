/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The userfaultfd is made by the process, for it is of its memory, while it is frozen; nobody in
 * it ever sees the descriptor. All further calls are ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/pages-work.h"
#include "engine/memory/scan.h"
#include "engine/memory/track.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#define WP_HUGETLBFS_SHMEM (1ull << 12) /* Linux 5.19 */
#define WP_UNPOPULATED (1ull << 13)     /* Linux 6.4 */
#define WP_ASYNC (1ull << 15)           /* Linux 6.7 */
#define AGAIN_MAX 1000                  /* while its areas are being changed */
#define STEP (16ull << 20)              /* of what others wait for, 2 ms */
#define LEAST (16 * CKPT_PAGE)          /* smaller areas are copied while it stands still */

static int make(struct ckpt_track *t, struct ckpt_source *src, const char **whyp,
		struct ckpt_err *err)
{
	struct ckpt_call c = { .nr = SYS_userfaultfd,
			       .arg = { O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY },
			       .buf_arg = -1,
			       .takes = true,
			       .taken = -1 };
	int r = src->ops->call(src, t->pid, &c, err);

	t->uffd = c.taken;
	if (r >= 0 && c.ret < 0) {
		*whyp = "it may not use userfaultfd(2)";
		return 1;
	}
	return r;
}

/* One without the other is of no use. */
static bool can_scan(const struct ckpt_track *t)
{
	struct ckpt_page_region ignored;
	struct ckpt_pm_scan scan = { .size = sizeof(scan),
				     .end = CKPT_PAGE,
				     .vec = (uintptr_t)&ignored,
				     .vec_len = 1,
				     .category_mask = CKPT_PAGE_WRITTEN,
				     .return_mask = CKPT_PAGE_WRITTEN };

	return ioctl(t->pagemap, CKPT_PAGEMAP_SCAN, &scan) >= 0;
}

static int enable(const struct ckpt_track *t, const char **whyp)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = WP_ASYNC | WP_UNPOPULATED | WP_HUGETLBFS_SHMEM };

	if (ioctl(t->uffd, UFFDIO_API, &api) >= 0 && can_scan(t))
		return 0;
	*whyp = "this kernel cannot track memory (Linux 6.7 can)";
	return 1;
}

/* Calls that are none of the program's could end it. */
static bool is_filtered(struct ckpt_source *src, pid_t pid, struct ckpt_err *err)
{
	int fd = src->ops->open_proc(src, pid, "status", err);
	char status[8192];
	ssize_t n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);

	ckpt_close_fd(&fd);
	if (n < 0)
		return true;
	status[n] = '\0';
	return !strstr(status, "\nSeccomp:\t0\n");
}

static int open_all(struct ckpt_track *t, struct ckpt_source *src, struct ckpt_err *err)
{
	t->pagemap = src->ops->open_proc(src, t->pid, "pagemap", err);
	if (t->pagemap >= 0)
		t->mem = src->ops->open_proc(src, t->pid, "mem", err);
	if (t->mem >= 0)
		t->maps = src->ops->open_proc(src, t->pid, "maps", err);
	return t->maps < 0 ? err->code : 0;
}

int ckpt_track_open(struct ckpt_track *t, struct ckpt_source *src, pid_t pid, const char **whyp,
		    struct ckpt_err *err)
{
	int r;

	*t = (struct ckpt_track){ .pid = pid, .uffd = -1, .pagemap = -1, .mem = -1, .maps = -1 };
	if (is_filtered(src, pid, err)) {
		*whyp = "it runs under a seccomp filter";
		return err->code ? err->code : 1;
	}
	r = open_all(t, src, err);
	if (r >= 0)
		r = make(t, src, whyp, err);
	if (r == 0)
		r = enable(t, whyp);
	if (r)
		ckpt_track_close(t);
	return r;
}

void ckpt_track_close(struct ckpt_track *t)
{
	int *fd[] = { &t->uffd, &t->pagemap, &t->mem, &t->maps };

	for (size_t i = 0; i < sizeof(fd) / sizeof(fd[0]); i++) {
		ckpt_close_fd(fd[i]);
		*fd[i] = -1;
	}
}

/* ---- areas ---- */

/* An area is tracked as a whole, or not at all. */
static bool is_tracked(const struct ckpt_track *t, struct ckpt_span span)
{
	struct ckpt_page_region ignored;
	struct ckpt_pm_scan scan = {
		.size = sizeof(scan),
		.flags = CKPT_SCAN_CHECK,
		.start = span.start,
		.end = span.start + CKPT_PAGE,
		.vec = (uintptr_t)&ignored,
		.vec_len = 1,
		.category_anyof_mask = CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED,
		.return_mask = CKPT_PAGE_PRESENT,
	};

	return ioctl(t->pagemap, CKPT_PAGEMAP_SCAN, &scan) >= 0;
}

/* To look takes 1 ms for each GiB, to take protection off that is not there nearly 50. */
static bool is_protected(const struct ckpt_track *t, struct ckpt_span span)
{
	struct ckpt_page_region ignored;
	struct ckpt_pm_scan scan = {
		.size = sizeof(scan),
		.start = span.start,
		.end = span.end,
		.vec = (uintptr_t)&ignored,
		.vec_len = 1,
		.max_pages = 1,
		.category_inverted = CKPT_PAGE_WRITTEN,
		.category_mask = CKPT_PAGE_WRITTEN,
		.category_anyof_mask = CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED,
		.return_mask = CKPT_PAGE_PRESENT,
	};

	return ioctl(t->pagemap, CKPT_PAGEMAP_SCAN, &scan) != 0;
}

/* Everything in it has been written. */
static bool forget_protection(const struct ckpt_track *t, struct ckpt_span span)
{
	struct uffdio_writeprotect wp = { .range = { span.start, span.end - span.start } };
	int r = is_protected(t, span) ? -1 : 0;

	for (int i = 0; r < 0 && (!i || errno == EAGAIN) && i < AGAIN_MAX; i++)
		r = ioctl(t->uffd, UFFDIO_WRITEPROTECT, &wp);
	return r >= 0;
}

/* False: it has gone meanwhile, or another userfaultfd has it. An area that another one was moved
 * to and merged with is not tracked any more, but its pages are still protected: who writes to them
 * is not noticed, and they would look unwritten when it is tracked again. */
static bool protects(const struct ckpt_track *t, struct ckpt_span span)
{
	struct uffdio_register reg = { .range = { span.start, span.end - span.start },
				       .mode = UFFDIO_REGISTER_MODE_WP };
	bool tracked = is_tracked(t, span);

	if (ioctl(t->uffd, UFFDIO_REGISTER, &reg) < 0)
		return false;
	return tracked || forget_protection(t, span);
}

/* "start-end perms offset dev inode name" */
static void see(struct ckpt_track *t, struct ckpt_arena *arena, const char *line)
{
	struct ckpt_tracked a = { 0 };
	unsigned long long start, end, inode;
	char perms[5];
	int name = 0;

	if (sscanf(line, "%llx-%llx %4s %*s %*s %llu %n", &start, &end, perms, &inode, &name) < 4)
		return;
	if (perms[3] != 'p' || end - start < LEAST || end > CKPT_TASK_SIZE ||
	    (inode && perms[1] != 'w') || !strncmp(line + name, "[v", 2)) /* vdso, vvar */
		return;
	a.span = (struct ckpt_span){ start, end };
	a.anonymous = !inode;
	if (!protects(t, a.span))
		return;
	t->area = ckpt_grow(arena, t->area, t->n, &t->room, 64, sizeof(*t->area));
	t->area[t->n++] = a;
}

int ckpt_track_areas(struct ckpt_track *t, struct ckpt_arena *arena, struct ckpt_err *err)
{
	int fd = dup(t->maps);
	FILE *f = fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ? NULL : fdopen(fd, "r");
	CKPT_FREE char *line = NULL;
	size_t size = 0;

	if (!f) {
		ckpt_close_fd(&fd);
		return ckpt_fail(err, -errno, "process %d: maps: cannot read", t->pid);
	}
	t->n = 0;
	while (getline(&line, &size, f) > 0)
		see(t, arena, line);
	fclose(f);
	return 0;
}

/* ---- pages ---- */

static void add(void *arg, const struct ckpt_page_region *r)
{
	ckpt_run_add(arg, r->start, (r->end - r->start) / CKPT_PAGE, CKPT_UNASSIGNED, 0);
}

int ckpt_track_take(const struct ckpt_track *t, bool look, struct ckpt_run_list *list,
		    struct ckpt_err *err)
{
	for (size_t i = 0; i < t->n; i++) {
		/* Whether a page is one of a file takes as long as all the rest. */
		uint64_t none = CKPT_PAGE_ZERO | (t->area[i].anonymous ? 0 : CKPT_PAGE_FILE);
		const struct ckpt_pm_scan scan = {
			.flags = look ? 0 : CKPT_SCAN_PROTECT,
			.start = t->area[i].span.start,
			.end = t->area[i].span.end,
			.category_inverted = none,
			.category_mask = none | CKPT_PAGE_WRITTEN,
			.category_anyof_mask = CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED,
		};
		int r = ckpt_scan_each(t->pagemap, &scan, add, list, err);

		if (r < 0)
			return ckpt_in(err, r, "process %d", t->pid);
	}
	return 0;
}

/* ---- the end ---- */

/* Takes as long as to close it, 30 to 40 ms for each GiB, in which a thread that maps memory, or
 * touches some for the first time, would stand still. What fails is done by the closing. */
static void let_go(const struct ckpt_track *t, struct ckpt_span span)
{
	struct uffdio_range range = { .start = span.start };
	int r = 0;

	for (; r >= 0 && range.start < span.end; range.start += range.len) {
		range.len = ckpt_scan_step(t->pagemap, range.start, span.end, STEP) - range.start;
		r = ioctl(t->uffd, UFFDIO_UNREGISTER, &range);
	}
}

void ckpt_track_end(struct ckpt_track *t)
{
	for (size_t i = 0; i < t->n; i++)
		let_go(t, t->area[i].span);
	ckpt_track_close(t);
}
