/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the memory of two processes, made ahead; memory that they share counts once. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "injector/room.h"
#include "tests/lib/tap.h"

#define OWN (24ull << 20)
#define LITTLE (1ull << 20)
#define LARGE (160ull << 20)

static int goes_on(void *arg, struct ckpt_err *err)
{
	(void)err;
	return *(int *)arg;
}

static void touch_as(size_t size, int flags, int fd)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		_exit(1);
	memset(p, 1, size);
}

static void touch(size_t size)
{
	touch_as(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* SIZE bytes that others could see as well, and as much of a file that has a name. */
static void touch_shared(size_t size, const char *named)
{
	int fd = open(named, O_CREAT | O_EXCL | O_RDWR, 0600);

	if (ftruncate(fd, size) < 0)
		_exit(1);
	touch_as(size, MAP_SHARED, fd);
	touch_as(size / 2, MAP_SHARED | MAP_ANONYMOUS, -1);
	fd = memfd_create("half", MFD_CLOEXEC);
	if (ftruncate(fd, size / 2) < 0)
		_exit(1);
	touch_as(size / 2, MAP_SHARED, fd);
}

static uint64_t allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_blocks * 512ull;
}

/* A process, and a child that has its memory and as much of its own. NAMED: and shared memory. */
static pid_t start_as(size_t size, const char *named)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	must(pipe(ready) == 0, "a pipe");
	pid = fork();
	if (!pid) {
		touch(size);
		if (fork() > 0)
			pause();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		touch(size);
		if (named)
			touch_shared(size, named);
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	must(read(ready[0], &byte, 1) == 1, "a tree is there");
	return pid;
}

static pid_t start(size_t size)
{
	return start_as(size, NULL);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* For the one process of SIZE, until the file has its size. */
static void make_beside(pid_t pid, uint64_t size)
{
	int fd = memfd_create("beside", MFD_CLOEXEC);
	struct ckpt_room room = { 0 };

	ckpt_room_begin(&room, fd, pid);
	for (int i = 0; size && !allocated(fd) && i < 10000; i++)
		usleep(1000);
	must(ftruncate(fd, 4 * LARGE) == 0, "a file gets its size");
	ckpt_room_end(&room);
	ok(!size == !allocated(fd), "there is room if it is worth it");
	ok(allocated(fd) <= size, "and not too much of it");
	is(lseek(fd, 0, SEEK_END), 4 * LARGE, "the file keeps its size");
	close(fd);
}

static struct ckpt_arena *arena;
static struct ckpt_pages_files file;

static int make(struct ckpt_room *room, uint64_t size, int *answer)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	return ckpt_room_make(room, arena, &file, 0, size, goes_on, answer, &err);
}

/* What is named is not dumped, however much of it is in memory. */
static void make_behind(void)
{
	char named[] = "/dev/shm/ckpt-test-room.XXXXXX";
	struct ckpt_pages_files one = { 1, { { 0, memfd_create("behind", MFD_CLOEXEC) } } };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_room room = { 0 };
	int go = 0;
	pid_t pid;

	must(mkdtemp(named) != NULL && rmdir(named) == 0, "a name");
	pid = start_as(OWN, named);
	is(ckpt_room_shared_size(arena, pid), OWN, "shared memory, and only what would be dumped");
	ok(ckpt_room_size(arena, pid) >= 3 * OWN, "which is part of all");
	must(ckpt_room_make(&room, arena, &one, LARGE, OWN, goes_on, &go, &err) == 0, "behind");
	is(allocated(one.part[0].fd), OWN, "so much of it");
	is(lseek(one.part[0].fd, 0, SEEK_END), LARGE + OWN, "at the end of the file");
	unlink(named);
	close(one.part[0].fd);
	end(pid);
}

/* Behind that in our memory, by a helper that has time for it, or has none. */
static void make_with_helper(uint64_t size, bool hurries)
{
	struct ckpt_room room = { .helper = ckpt_helper_open(arena) };
	int go = 0;

	file.part[0].fd = memfd_create("behind that", MFD_CLOEXEC);
	if (hurries)
		ckpt_room_rest(&room);
	must(make(&room, size, &go) == 0 && room.hold, "room for little is made");
	ckpt_helper_wait(room.helper, &room.job);
	if (hurries)
		ok(!allocated(file.part[0].fd), "in our memory alone");
	else
		ok(allocated(file.part[0].fd) >= size, "and in the file that it is written to");
	ckpt_room_end(&room);
	ckpt_helper_close(room.helper);
	close(file.part[0].fd);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_room large = { 0 }, little = { 0 };
	int ok_to_go = 0, stop = -ECANCELED;
	uint64_t size;
	pid_t pid;

	must(ckpt_arena_open(&arena, 1 << 26, &err) == 0, "an arena");
	file = (struct ckpt_pages_files){ 2,
					  { { 0, memfd_create("room", MFD_CLOEXEC) },
					    { OWN, memfd_create("more", MFD_CLOEXEC) } } };
	pid = start(OWN);
	size = ckpt_room_size(arena, pid);
	ok(size >= 2 * OWN, "the memory of both");
	ok(size < 3 * OWN, "once");
	must(make(&large, size, &ok_to_go) == 0, "room is made");
	ok(allocated(file.part[0].fd) == OWN, "in the one file up to where the other begins");
	ok(allocated(file.part[1].fd) >= size - OWN, "and for the rest there");
	ok(!large.hold, "not in our memory");
	ok(make(&large, size, &stop) == -ECANCELED, "it can be stopped");
	file.part[0].fd = -1;
	ok(make(&large, size, &ok_to_go) == 0, "no room is no failure");
	end(pid);
	pid = start(LITTLE);
	file.part[0].fd = memfd_create("empty", MFD_CLOEXEC);
	size = ckpt_room_size(arena, pid);
	must(make(&little, size, &ok_to_go) == 0, "room for little is made");
	ok(little.hold && little.hold_len >= 2 * LITTLE, "in our memory");
	ok(!allocated(file.part[0].fd), "and not in the file");
	close(file.part[0].fd);
	make_with_helper(size, false);
	make_with_helper(size, true);
	make_beside(pid, 0);
	end(pid);
	pid = start(LARGE);
	make_beside(pid, LARGE);
	end(pid);
	make_behind();
	ckpt_arena_close(arena);
	return tap_end();
}
