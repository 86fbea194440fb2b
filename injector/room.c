/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a page of a file that is there takes a third of the time of writing to one that has to
 * be found first, and the tree stands still meanwhile. Of little memory there is a copy sooner than
 * that.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "engine/base/file.h"
#include "engine/base/pass.h"
#include "injector/areas.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/room.h"
#include "injector/warm.h"

#define STEP (64ull << 20)
#define HOLD_MOST (16ull << 20)
#define HUGE (2ull << 20)
#define LEAST (16ull << 20) /* for less nobody waits long enough */
#define BIT (1ull << 20)
#define PIECE (256ull << 10) /* who waits for the helper waits for that */
#define MORE(size) ((size) + (size) / 4 + (256u << 10)) /* than there is by now */

struct used {
	uint64_t own, shared; /* KiB */
};

/* Pages that it shares with its children count once in all. */
static void add_process(void *arg, pid_t pid)
{
	struct used *used = arg;
	char text[4096];

	if (ckpt_proc_read(pid, "smaps_rollup", text, sizeof(text)) <= 0)
		return;
	used->own +=
		ckpt_status_number(text, "Pss_Anon", 10) + ckpt_status_number(text, "SwapPss", 10);
	used->shared += ckpt_status_number(text, "Pss_Shmem", 10);
}

struct shared {
	struct ckpt_arena *arena;
	uint64_t most;
};

/* Named files that are mapped use some as well, but are not dumped. */
static void note_shared(void *arg, pid_t pid)
{
	struct shared *s = arg;
	struct ckpt_vm_areas areas;
	struct ckpt_err ignored = CKPT_ERR_INIT;
	uint64_t used, mapped = 0;
	char text[8192];

	if (ckpt_proc_read(pid, "status", text, sizeof(text)) <= 0)
		return;
	used = ckpt_status_number(text, "RssShmem", 10) << 10;
	if (used <= s->most || ckpt_vm_areas_read(s->arena, pid, &areas, &ignored) < 0)
		return;
	for (size_t i = 0; i < areas.n; i++)
		if (areas.v[i].shared && areas.v[i].nameless)
			mapped += areas.v[i].end - areas.v[i].start;
	used = used < mapped ? used : mapped;
	s->most = used > s->most ? used : s->most;
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

static void find_pages(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct ckpt_room *room = (struct ckpt_room *)job;

	(void)arena;
	for (uint64_t at = 0; at < room->most && !room->ends; at += PIECE)
		if (fallocate(room->fd, 0, at, PIECE) < 0)
			return;
}

/* What is held is written to FD in the end, where pages are found meanwhile. */
static void start_pages(struct ckpt_room *room, int fd, uint64_t size)
{
	if (!ckpt_is_on_tmpfs(fd))
		return;
	room->fd = fd;
	room->most = size;
	room->job.run = find_pages;
	ckpt_helper_start(room->helper, &room->job);
}

/* STEP bytes, or what is left of a file. 0: there is no room. */
static uint64_t find_room(const struct ckpt_pages_files *files, uint64_t at, uint64_t size)
{
	uint64_t len = size - at < STEP ? size - at : STEP;
	int fd = ckpt_pages_piece(files, &at, &len);

	return fallocate(fd, 0, at, len) < 0 ? 0 : len;
}

uint64_t ckpt_room_size(struct ckpt_arena *arena, pid_t pid)
{
	struct used used = { 0 };
	const struct ckpt_each each = { NULL, add_process, &used };

	ckpt_each_below(arena, pid, &each);
	return (used.own << 10) + (used.shared ? ckpt_room_shared_size(arena, pid) : 0);
}

uint64_t ckpt_room_shared_size(struct ckpt_arena *arena, pid_t pid)
{
	struct shared shared = { .arena = arena };
	const struct ckpt_each each = { NULL, note_shared, &shared };

	ckpt_each_below(arena, pid, &each);
	return shared.most;
}

int ckpt_room_make(struct ckpt_room *room, struct ckpt_arena *arena,
		   const struct ckpt_pages_files *files, uint64_t from, uint64_t size,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err)
{
	uint64_t n;
	int r = 0;

	if (MORE(size) <= HOLD_MOST) {
		make_hold(room, arena, MORE(size));
		if (room->helper)
			start_pages(room, files->part[0].fd, size);
		return go_on(arg, err);
	}
	for (uint64_t at = from; r >= 0 && at < from + size; at += n) {
		n = find_room(files, at, from + size);
		if (!n)
			return 0;
		r = go_on(arg, err);
	}
	return r;
}

/* ---- beside other things ---- */

static bool is_wanted(const struct ckpt_room *room, uint64_t at)
{
	struct stat st;

	return !room->ends && at < room->most && !fstat(room->fd, &st) &&
	       (uint64_t)st.st_size <= at;
}

static void *make_more(void *arg)
{
	struct ckpt_room *room = arg;

	ckpt_pass_always();
	for (uint64_t at = 0; is_wanted(room, at) && !fallocate(room->fd, 0, at, BIT); at += BIT)
		;
	return NULL;
}

/* As much as there is time for where others wait: once they copy, it is in their way. */
void ckpt_room_begin(struct ckpt_room *room, int fd, pid_t pid)
{
	char status[8192];

	if (ckpt_proc_read(pid, "status", status, sizeof(status)) <= 0)
		return;
	room->fd = fd;
	room->most = (ckpt_status_number(status, "RssAnon", 10) << 10) / 8;
	/* Other file systems look for room when they write it out. */
	if (room->most < LEAST || !ckpt_is_on_tmpfs(fd))
		return;
	room->started = !pthread_create(&room->thread, NULL, make_more, room);
}

void ckpt_room_rest(struct ckpt_room *room)
{
	if (room->helper)
		room->ends = true;
}

void ckpt_room_end(struct ckpt_room *room)
{
	room->ends = true;
	if (room->helper)
		ckpt_helper_drain(room->helper);
	if (room->started)
		pthread_join(room->thread, NULL);
	room->started = false;
}
