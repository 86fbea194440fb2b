/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a page of a file that is there takes a third of the time of writing to one that has to
 * be found first, and the tree stands still meanwhile.
 */
#include <fcntl.h>
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/room.h"

#define STEP (64ull << 20)

/* Pages that it shares with its children count once in all. */
static void add_process(void *arg, pid_t pid)
{
	uint64_t *kib = arg;
	char text[4096];

	if (ckpt_proc_read(pid, "smaps_rollup", text, sizeof(text)) > 0)
		*kib += ckpt_status_number(text, "Pss_Anon", 10) +
			ckpt_status_number(text, "SwapPss", 10);
}

int ckpt_room_make(struct ckpt_arena *arena, int fd, pid_t pid,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err)
{
	uint64_t kib = 0, size;
	const struct ckpt_each each = { NULL, add_process, &kib };
	int r = 0;

	ckpt_each_below(arena, pid, &each);
	size = kib << 10;
	for (uint64_t at = 0; r >= 0 && at < size; at += STEP) {
		if (fallocate(fd, 0, at, size - at < STEP ? size - at : STEP) < 0)
			return 0;
		r = go_on(arg, err);
	}
	return r;
}
