/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of an object that only mappings reach: for an ordinary user, who may not open what is
 * deleted. Reading a hole of shared memory would fill it, so the kernel is asked first what is
 * there; but mincore(2) does not see what was swapped out, and on a disk file a page that is not in
 * memory is no hole.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/pages-work.h"

#define PM_SWAPPED (1ull << 62)
#define PM_PRESENT (1ull << 63)
#define PM_FILE (1ull << 61) /* of a file, or shared memory: not a private copy */

struct resolved {
	struct ckpt_run_list *list;
	struct ckpt_source *src;
	struct ckpt_piece *v;
	size_t n, room;
};

static void add(struct resolved *res, const struct ckpt_piece *p, uint64_t offset, uint64_t n_pages)
{
	struct ckpt_piece *last = res->n ? &res->v[res->n - 1] : NULL;
	uint64_t start = p->start + (offset - p->offset), end = start + n_pages * CKPT_PAGE;

	ckpt_run_add(res->list, offset, n_pages, CKPT_UNASSIGNED, UINT64_MAX);
	if (last && last->pid == p->pid && last->end == start &&
	    last->offset + (last->end - last->start) == offset) {
		last->end = end;
		return;
	}
	res->v = ckpt_grow(res->list->arena, res->v, res->n, &res->room, 16, sizeof(*res->v));
	res->v[res->n++] = (struct ckpt_piece){ p->pid, start, end, offset, p->shared };
}

static bool covers(const struct ckpt_piece *p, uint64_t offset)
{
	return offset >= p->offset && offset < p->offset + (p->end - p->start);
}

/* A piece that covers OFFSET, one that shows the file itself if there is one; NULL if none does;
 * *NEXTP: where to go on then. */
static const struct ckpt_piece *find(const struct ckpt_piece *piece, size_t n, uint64_t offset,
				     uint64_t *nextp)
{
	const struct ckpt_piece *found = NULL;

	*nextp = UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		if (covers(&piece[i], offset) && (!found || (piece[i].shared && !found->shared)))
			found = &piece[i];
		if (piece[i].offset > offset && piece[i].offset < *nextp)
			*nextp = piece[i].offset;
	}
	return found;
}

/* Has the task a copy of its own of that page? */
static bool is_copy(struct ckpt_source *src, const struct ckpt_piece *p, uint64_t offset)
{
	uint64_t word = 0;
	struct ckpt_err ignored;

	CKPT_FD fd = src->ops->open_proc(src, p->pid, "pagemap", &ignored);
	if (fd < 0)
		return false;
	if (pread(fd, &word, 8, (p->start + (offset - p->offset)) / CKPT_PAGE * 8) != 8)
		return false;
	return word & PM_SWAPPED || (word & PM_PRESENT && !(word & PM_FILE));
}

static bool is_zero(const uint64_t *word)
{
	for (size_t i = 0; i < CKPT_PAGE / 8; i++) {
		if (word[i])
			return false;
	}
	return true;
}

/* Takes the page from the first piece that shows it as it is in the file; beyond the end of the
 * file none does. */
static int add_page(struct resolved *res, const struct ckpt_piece *piece, size_t n, uint64_t offset,
		    struct ckpt_err *err)
{
	uint64_t page[CKPT_PAGE / 8];

	for (size_t i = 0; i < n; i++) {
		const struct ckpt_piece *p = &piece[i];
		struct iovec range = { (void *)(p->start + (offset - p->offset)), CKPT_PAGE };
		int r;

		if (!covers(p, offset) || (!p->shared && is_copy(res->src, p, offset)))
			continue;
		r = res->src->ops->read_mem(res->src, p->pid, &range, 1, page, err);
		if (r == -EFAULT || r == -EIO)
			continue;
		if (r < 0)
			return r;
		if (!is_zero(page))
			add(res, p, offset, 1);
		return 0;
	}
	return 0;
}

struct pieces {
	const struct ckpt_piece *v;
	size_t n;
};

/* One window of at most CKPT_CALL_BUF pages of P; returns how many, or an error. What is in its
 * place where P has a copy is taken from others. */
static int add_resident(struct resolved *res, const struct pieces *all, const struct ckpt_piece *p,
			uint64_t offset, uint64_t end, struct ckpt_err *err)
{
	uint64_t address = p->start + (offset - p->offset), n = (p->end - address) / CKPT_PAGE;
	unsigned char in_core[CKPT_CALL_BUF] = { 0 };
	struct ckpt_call call = { .nr = SYS_mincore, .buf_arg = 2, .buf = in_core };
	int r;

	if (n > (end - offset + CKPT_PAGE - 1) / CKPT_PAGE)
		n = (end - offset + CKPT_PAGE - 1) / CKPT_PAGE;
	if (n > sizeof(in_core))
		n = sizeof(in_core);
	call.buf_len = n;
	call.arg[0] = address;
	call.arg[1] = n * CKPT_PAGE;
	r = res->src->ops->call(res->src, p->pid, &call, err);
	if (r < 0)
		return r;
	if (call.ret < 0)
		return ckpt_fail(err, call.ret, "shared memory: cannot find its pages");
	for (uint64_t i = 0; i < n; i++, offset += CKPT_PAGE) {
		if (!(in_core[i] & 1))
			continue;
		if (p->shared || !is_copy(res->src, p, offset))
			add(res, p, offset, 1);
		else
			r = add_page(res, all->v, all->n, offset, err);
		if (r < 0)
			return r;
	}
	return n;
}

static int add_all_resident(struct resolved *res, const struct ckpt_piece *piece, size_t n,
			    uint64_t size, struct ckpt_err *err)
{
	uint64_t offset = 0, next;

	while (offset < size) {
		const struct ckpt_piece *p = find(piece, n, offset, &next);
		int r;

		if (!p) {
			offset = next;
			continue;
		}
		r = add_resident(res, &(struct pieces){ piece, n }, p, offset, size, err);
		if (r < 0)
			return r;
		offset += r * CKPT_PAGE;
	}
	return 0;
}

static int add_all_read(struct resolved *res, const struct ckpt_piece *piece, size_t n,
			uint64_t size, struct ckpt_err *err)
{
	uint64_t offset = 0, next;

	while (offset < size) {
		int r;

		if (!find(piece, n, offset, &next)) {
			offset = next;
			continue;
		}
		r = add_page(res, piece, n, offset, err);
		if (r < 0)
			return r;
		offset += CKPT_PAGE;
	}
	return 0;
}

static bool swap_in_use(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 || info.totalswap != info.freeswap;
}

/* Of a private one the kernel says that a page is there, but not whose. */
static bool any_private(const struct ckpt_piece *piece, size_t n)
{
	size_t i = 0;

	while (i < n && piece[i].shared)
		i++;
	return i < n;
}

int ckpt_pages_mapped(struct ckpt_run_list *list, struct ckpt_source *src,
		      const struct ckpt_piece *piece, size_t n, uint64_t size, bool sparse,
		      struct ckpt_piece **piecep, size_t *n_piecesp, struct ckpt_err *err)
{
	struct resolved res = { .list = list, .src = src };
	int r;

	if (sparse && !swap_in_use() && !any_private(piece, n))
		r = add_all_resident(&res, piece, n, size, err);
	else
		r = add_all_read(&res, piece, n, size, err);
	*piecep = res.v;
	*n_piecesp = res.n;
	return r;
}
