/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the memory of two processes, made ahead; memory that they share counts once. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
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

static void touch(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, size);
}

static uint64_t allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_blocks * 512ull;
}

/* A process, and a child that has its memory and as much of its own. */
static pid_t start(size_t size)
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
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	must(read(ready[0], &byte, 1) == 1, "a tree is there");
	return pid;
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

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_room large = { 0 }, little = { 0 };
	struct ckpt_arena *arena;
	int fd = memfd_create("room", MFD_CLOEXEC), none = memfd_create("none", MFD_CLOEXEC),
	    empty = memfd_create("empty", MFD_CLOEXEC);
	int ok_to_go = 0, stop = -ECANCELED;
	uint64_t size;
	pid_t pid;

	must(ckpt_arena_open(&arena, 1 << 26, &err) == 0, "an arena");
	pid = start(OWN);
	must(ckpt_room_make(&large, arena, fd, pid, goes_on, &ok_to_go, &err) == 0, "room is made");
	size = allocated(fd);
	ok(size >= 2 * OWN, "for the memory of both");
	ok(size < 3 * OWN, "once");
	ok(!large.hold, "not in our memory");
	ok(ckpt_room_make(&large, arena, none, pid, goes_on, &stop, &err) == -ECANCELED,
	   "it can be stopped");
	ok(ckpt_room_make(&large, arena, -1, pid, goes_on, &ok_to_go, &err) == 0,
	   "no room is no failure");
	end(pid);
	pid = start(LITTLE);
	must(ckpt_room_make(&little, arena, empty, pid, goes_on, &ok_to_go, &err) == 0,
	     "room for little is made");
	ok(little.hold && little.hold_len >= 2 * LITTLE, "in our memory");
	ok(!allocated(empty), "and not in the file");
	make_beside(pid, 0);
	end(pid);
	pid = start(LARGE);
	make_beside(pid, LARGE);
	end(pid);
	ckpt_arena_close(arena);
	return tap_end();
}
