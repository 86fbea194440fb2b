/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a page of a file that is there takes a third of the time of writing to one that has to
 * be found first, and the tree stands still meanwhile. Of little memory there is a copy sooner than
 * that.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/room.h"
#include "injector/warm.h"

#define STEP (64ull << 20)
#define HOLD_MOST (16ull << 20)
#define HUGE (2ull << 20)
#define MORE(size) ((size) + (size) / 4 + (256u << 10)) /* than there is by now */

/* Pages that it shares with its children count once in all. */
static void add_process(void *arg, pid_t pid)
{
	uint64_t *kib = arg;
	char text[4096];

	if (ckpt_proc_read(pid, "smaps_rollup", text, sizeof(text)) > 0)
		*kib += ckpt_status_number(text, "Pss_Anon", 10) +
			ckpt_status_number(text, "SwapPss", 10);
}

/* For SIZE bytes; pages that are needed beyond them are found then. Huge ones are there in a third
 * of the time. */
static void make_hold(struct ckpt_room *room, struct ckpt_arena *arena, uint64_t size)
{
	uintptr_t at = (uintptr_t)ckpt_alloc(arena, HOLD_MOST + HUGE);

	room->hold = (char *)((at + HUGE - 1) & ~(HUGE - 1));
	room->hold_len = HOLD_MOST;
	madvise(room->hold, HOLD_MOST, MADV_HUGEPAGE);
	ckpt_touch(room->hold, size);
}

int ckpt_room_make(struct ckpt_room *room, struct ckpt_arena *arena, int fd, pid_t pid,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err)
{
	uint64_t kib = 0, size;
	const struct ckpt_each each = { NULL, add_process, &kib };
	int r = 0;

	ckpt_each_below(arena, pid, &each);
	size = kib << 10;
	if (MORE(size) <= HOLD_MOST) {
		make_hold(room, arena, MORE(size));
		return go_on(arg, err);
	}
	for (uint64_t at = 0; r >= 0 && at < size; at += STEP) {
		if (fallocate(fd, 0, at, size - at < STEP ? size - at : STEP) < 0)
			return 0;
		r = go_on(arg, err);
	}
	return r;
}
