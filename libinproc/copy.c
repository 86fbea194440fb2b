/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the process as it stands: the memory is shared with it copy-on-write, so that the
 * program may go on while the copy is written out. Areas that a fork leaves out or clears lose that
 * advice for the moment of the fork, while nobody runs who could see it. What all threads are going
 * to write to at once is made theirs before they go on.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define PAGE 4096ul
#define BELOW 1024 /* of a stack, for calls that are made on the way out */
#define NEAR 16384

struct copy {
	int sock;
	const struct ckpt_wire_kept *kept;
	size_t n;
	bool answered;
};

/* OFF: as if they had never had it. */
static void advise(const struct copy *c, bool off)
{
	ckpt_sys(SYS_madvise, ckpt_session, sizeof(*ckpt_session),
		 off ? MADV_KEEPONFORK : MADV_WIPEONFORK);
	for (size_t i = 0; i < c->n; i++) {
		const struct ckpt_wire_kept *k = &c->kept[i];
		int advice = k->advice;

		if (off)
			advice = advice == MADV_DONTFORK ? MADV_DOFORK : MADV_KEEPONFORK;
		ckpt_sys(SYS_madvise, k->start, k->len, advice);
	}
}

/* Nobody looks at the areas of the program before. */
static void made(void *arg, pid_t pid, int sock)
{
	struct copy *c = arg;

	advise(c, false);
	c->answered = true;
	ckpt_answer(c->sock, pid, sock);
}

/* In the copy, all of whose memory is going to be read: nothing of it may change but this stack.
 * It stays until the engine closes its end of the connection. */
static void copy_main(void *arg)
{
	struct copy *c = arg;
	char byte = 1;

	ckpt_sys(SYS_prctl, PR_SET_NAME, "ckpt-copy");
	ckpt_sys(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	advise(c, false);
	ckpt_sys(SYS_write, 0, &byte, 1);
	ckpt_sys(SYS_read, 0, &byte, 1);
}

/* Copies what they share with the copy now: LEN bytes at FROM and what else is in these pages. */
static void unshare(uint64_t from, uint64_t len)
{
	uint64_t start = from & -PAGE;

	ckpt_sys(SYS_madvise, start, ((from + len + PAGE - 1) & -PAGE) - start,
		 MADV_POPULATE_WRITE);
}

/* What a thread writes to as soon as it goes on: its place in the handler, the frame that it
 * returns into, what it was doing, and where the kernel says which processor it is on. */
static void unshare_thread(const struct ckpt_parked *p)
{
	const uint64_t more[] = { p->uc->uc_mcontext.gregs[REG_RSP], p->regs.fs_base };
	uint64_t from = p->regs.rsp - BELOW, to = (uintptr_t)(p + 1);

	unshare(from, to - from);
	from = (uintptr_t)p->uc - BELOW;
	to = (uintptr_t)(p->uc + 1);
	/* On most stacks that is close together. */
	for (int i = 0; i < 2; i++) {
		if (more[i] >= to && more[i] - from < NEAR)
			to = more[i] + sizeof(void *);
		else
			unshare(more[i], sizeof(void *));
	}
	unshare(from, to - from);
}

int64_t ckpt_serve_copy(int sock, const struct ckpt_wire_kept *kept, size_t n)
{
	struct copy c = { .sock = sock, .kept = kept, .n = n };
	const struct ckpt_copier copier = { copy_main, made, &c };
	int64_t r;

	advise(&c, true);
	r = ckpt_spawn_copy(sock, &copier);
	if (!c.answered) {
		advise(&c, false);
		return r < 0 ? r : -ECHILD;
	}
	/* When hundreds do it at once each page interrupts all other processors. */
	for (const struct ckpt_parked *p = ckpt_session->parked; p; p = p->next)
		unshare_thread(p);
	return 0;
}
