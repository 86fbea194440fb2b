/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A context of io_setup(2) as it was. How far the kernel has come in its ring cannot be set: so it
 * is asked for as many empty reads. Those that nobody asks for hold the places of the events that
 * are put back over theirs.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/layout.h"
#include "engine/memory/ring.h"
#include "injector/job.h"

#define AT_ONCE 64

static int ask(aio_context_t context, int fd, uint32_t n, struct ckpt_err *err)
{
	struct iocb one = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd };
	struct iocb *all[AT_ONCE];
	long r;

	for (uint32_t i = 0; i < n; i++)
		all[i] = &one;
	r = syscall(SYS_io_submit, context, n, all);
	return r <= 0 ? ckpt_fail(err, r ? -errno : -EAGAIN, "io_submit") : r;
}

/* N more requests are done; their events are asked for, or left where they are. */
static int advance(aio_context_t context, int fd, uint32_t n, bool taken, struct ckpt_err *err)
{
	struct io_event event[AT_ONCE];

	while (n) {
		int r = ask(context, fd, n < AT_ONCE ? n : AT_ONCE, err);

		if (r < 0)
			return r;
		if (taken && syscall(SYS_io_getevents, context, r, r, event, NULL) != r)
			return ckpt_fail(err, -errno, "io_getevents");
		n -= r;
	}
	return 0;
}

static int set_up(const struct ckpt_ring *was, aio_context_t *contextp, struct ckpt_err *err)
{
	/* The kernel makes room for twice as many and two, and fills whole pages. */
	long r = syscall(SYS_io_setup, (was->n - 2) / 2, contextp);
	const struct ckpt_ring *now = (void *)*contextp;

	if (r < 0 && errno == EAGAIN)
		return ckpt_refuse(err, CKPT_E_AIO_LIMIT, -EAGAIN, "no room for %u requests",
				   (was->n - 2) / 2);
	if (r < 0)
		return ckpt_fail(err, -errno, "io_setup");
	if (now->n != was->n)
		return ckpt_fail(err, -ENOSPC,
				 "with the processors of this machine it is larger: %u events, "
				 "not %u",
				 now->n, was->n);
	return 0;
}

static int make(const Ckpt__Area *a, uint64_t to, struct ckpt_err *err)
{
	uint64_t len = a->end - a->start;
	CKPT_FD fd = memfd_create("ckpt", MFD_CLOEXEC);
	aio_context_t context = 0;
	struct ckpt_ring ring;
	uint32_t id;
	int r;

	if (fd < 0 || !ckpt_ring_of(a, &ring))
		return ckpt_fail(err, fd < 0 ? -errno : -EBADMSG, "cannot start");
	r = set_up(&ring, &context, err);
	if (r < 0)
		return r;
	if (mremap((void *)context, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return ckpt_fail(err, -errno, "mremap");
	r = advance(to, fd, ring.head, true, err);
	if (r >= 0)
		r = advance(to, fd, (ring.tail + ring.n - ring.head) % ring.n, false, err);
	if (r < 0)
		return r;
	id = ((struct ckpt_ring *)to)->id;
	memset((void *)to, 0, len);
	memcpy((void *)to, a->ring.data, a->ring.len);
	((struct ckpt_ring *)to)->id = id;
	return 0;
}

/* The one with the next number after LAST, NULL if there is none. */
static const struct ckpt_staged_area *
next_of(const struct ckpt_layout *l, const struct ckpt_task *task, int64_t last, uint32_t *idp)
{
	const struct ckpt_staged_area *next = NULL;
	struct ckpt_ring ring;

	for (size_t i = 0; i < l->n_staged[task->id - 1]; i++) {
		const struct ckpt_staged_area *s = &l->staged[task->id - 1][i];

		if (!ckpt_ring_of(task->mm->areas[s->area], &ring) || ring.id <= last ||
		    (next && ring.id >= *idp))
			continue;
		next = s;
		*idp = ring.id;
	}
	return next;
}

/* The kernel numbers them in the order in which they are made. */
int ckpt_rings_make(const struct ckpt_layout *l, const struct ckpt_task *task, struct ckpt_err *err)
{
	const struct ckpt_staged_area *s;
	uint32_t id = 0;
	int r = 0;

	for (int64_t last = -1; r >= 0 && (s = next_of(l, task, last, &id)) != NULL; last = id) {
		const Ckpt__Area *a = task->mm->areas[s->area];

		r = ckpt_in(err, make(a, l->stages[s->stage].at, err),
			    "context of io_setup(2) at %#llx", (unsigned long long)a->start);
	}
	return r;
}
