/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of the image into address spaces, only from chunks whose checksum was right. What the list
 * says and what is there may differ by one step, after a server was killed: a page that is there
 * already stays as it is.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include "engine/base/arch/x86-64.h"
#include "injector/lazy.h"

#ifndef UFFDIO_POISON /* Linux 6.6 */
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#define NO_CHUNK UINT64_MAX

static const uint8_t *chunk(struct ckpt_lazy_job *l, uint64_t number, struct ckpt_err *err)
{
	size_t i = number % CKPT_LAZY_SLOTS;

	if (l->chunk[i] == number)
		return l->slot[i];
	l->chunk[i] = NO_CHUNK;
	if (ckpt_image_fetch(l->img, number, err) < 0 ||
	    ckpt_image_read_chunk(l->img, number, l->slot[i], err) < 0)
		return NULL;
	l->chunk[i] = number;
	return l->slot[i];
}

void ckpt_lazy_wake(const struct ckpt_lazy_mm *mm, uint64_t at, uint64_t len)
{
	struct uffdio_range range = { at, len };

	ioctl(mm->uffd, UFFDIO_WAKE, &range);
}

void ckpt_lazy_poison(const struct ckpt_lazy_mm *mm)
{
	for (size_t i = 0; i < mm->absent.n; i++) {
		const struct ckpt_run *run = &mm->absent.run[i];
		struct uffdio_poison p = { .range = { run->at, run->n_pages * CKPT_PAGE } };

		ioctl(mm->uffd, UFFDIO_POISON, &p);
	}
}

/* What the kernel says of one page: 0 if it is there already, or has no place any more. */
static int outcome(const struct ckpt_lazy_mm *mm, uint64_t at, int code, struct ckpt_err *err)
{
	if (code == ESRCH || code == EAGAIN || code == ENOMEM)
		return -code;
	if (code != EEXIST && code != ENOENT)
		return ckpt_fail(err, -code, "page %#llx: cannot fill", (unsigned long long)at);
	ckpt_lazy_wake(mm, at, CKPT_PAGE);
	return 0;
}

static int zero(const struct ckpt_lazy_mm *mm, uint64_t at, struct ckpt_err *err)
{
	struct uffdio_zeropage z = { .range = { at, CKPT_PAGE } };

	return ioctl(mm->uffd, UFFDIO_ZEROPAGE, &z) < 0 ? outcome(mm, at, errno, err) : 0;
}

/* How many bytes are dealt with. A range that spans areas has no place, its pages may have. */
static int64_t copy(const struct ckpt_lazy_mm *mm, uint64_t at, const uint8_t *from, uint64_t len,
		    struct ckpt_err *err)
{
	for (;;) {
		struct uffdio_copy c = { .dst = at, .src = (uintptr_t)from, .len = len };
		int code, r;

		if (ioctl(mm->uffd, UFFDIO_COPY, &c) == 0)
			return len;
		code = errno;
		if (c.copy > 0)
			return c.copy;
		if (len > CKPT_PAGE && (code == EEXIST || code == ENOENT)) {
			len = (code == EEXIST ? 1 : len / CKPT_PAGE / 2) * CKPT_PAGE;
			continue;
		}
		r = outcome(mm, at, code, err);
		return r < 0 ? r : (int64_t)CKPT_PAGE;
	}
}

static int drop(struct ckpt_lazy_job *l, struct ckpt_lazy_mm *mm, uint64_t at, uint64_t len,
		struct ckpt_err *err)
{
	bool ok;

	__atomic_store_n(&l->changing, true, __ATOMIC_SEQ_CST);
	ok = ckpt_absent_drop(&mm->absent, at, at + len);
	__atomic_store_n(&l->changing, false, __ATOMIC_SEQ_CST);
	return ok ? 0 : ckpt_fail(err, -ENOMEM, "no memory for the list of absent pages");
}

int ckpt_lazy_fill(struct ckpt_lazy_job *l, struct ckpt_lazy_mm *mm, uint64_t at, uint64_t max,
		   struct ckpt_err *err)
{
	struct ckpt_run rest;
	uint64_t in_chunk, len;
	const uint8_t *bytes;
	int64_t n;

	if (!ckpt_absent_find(&mm->absent, at, &rest))
		return zero(mm, at, err);
	in_chunk = rest.offset % CKPT_CHUNK;
	len = rest.n_pages * CKPT_PAGE;
	len = len < CKPT_CHUNK - in_chunk ? len : CKPT_CHUNK - in_chunk;
	len = len < max ? len : max;
	bytes = chunk(l, rest.offset / CKPT_CHUNK, err);
	if (!bytes)
		return err->code;
	n = copy(mm, at, bytes + in_chunk, len, err);
	return n < 0 ? n : drop(l, mm, at, n, err);
}
