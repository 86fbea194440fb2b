/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program comes back under another kernel: its image is written again with a vDSO that differs by
 * one byte behind its symbols, so that the restore must keep the old one as plain memory that jumps
 * to this kernel's. The program reads clocks through it before and after, and is dumped again.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "injector/dump.h"
#include "injector/restore.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;
static char dir[] = "/tmp/test-vdso-XXXXXX";

struct shared {
	uint64_t rounds, errors;
};

/* In a file, so that it is seen from outside before and after. */
static void run_target(struct shared *s)
{
	struct timespec was = { 0 }, is, again;
	unsigned int cpu;

	for (;;) {
		if (clock_gettime(CLOCK_MONOTONIC, &is) || clock_gettime(CLOCK_REALTIME, &again) ||
		    getcpu(&cpu, NULL) || is.tv_sec < was.tv_sec || again.tv_sec - time(NULL) > 1)
			s->errors++;
		was = is;
		s->rounds++;
		usleep(1000);
	}
}

static pid_t start(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct shared *s;
	pid_t pid;

	must(fd >= 0 && ftruncate(fd, sizeof(*s)) == 0, "a file to share");
	pid = fork();
	if (pid) {
		close(fd);
		return pid;
	}
	setsid();
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close_range(0, ~0u, 0);
	if (chdir("/"))
		_exit(1);
	run_target(s);
	_exit(0);
}

static int folder(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	mkdir(path, 0700);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool dump(pid_t pid, int fd)
{
	struct ckpt_dump_opts opts = { .pid = pid, .dirfd = fd, .dir = dir, .timeout_s = 10 };
	struct ckpt_problems problems = { 0 };
	struct ckpt_dump_stats stats;
	struct ckpt_err err = CKPT_ERR_INIT;

	if (ckpt_dump(&opts, arena, &stats, &problems, &err) >= 0)
		return true;
	diag("%s", err.text);
	return false;
}

static bool restore(int fd)
{
	struct ckpt_restore_run run = { .dirfd = fd, .dir = dir, .detached = true };
	struct ckpt_problems problems = { .arena = arena };
	struct ckpt_restore_stats stats;
	struct ckpt_err err = CKPT_ERR_INIT;

	if (ckpt_restore(&run, arena, &stats, NULL, NULL, &problems, &err) >= 0)
		return true;
	diag("%s", err.text);
	return false;
}

static bool copy_pages(struct ckpt_image *img, struct ckpt_image_writer *w)
{
	size_t size = ckpt_image_pages_size(img), n = (size + CKPT_CHUNK - 1) / CKPT_CHUNK;
	uint32_t *crc = ckpt_alloc(arena, n * sizeof(*crc));
	char *all = ckpt_alloc(arena, size);

	if (pread(ckpt_image_files(img)->part[0].fd, all, size, 0) != (ssize_t)size ||
	    pwrite(ckpt_image_writer_files(w)->part[0].fd, all, size, 0) != (ssize_t)size)
		return false;
	for (size_t i = 0; i < n; i++)
		crc[i] = ckpt_crc32c(0, all + i * CKPT_CHUNK,
				     i + 1 < n ? CKPT_CHUNK : size - i * CKPT_CHUNK);
	ckpt_image_set_checksums(w, size, crc, n);
	return true;
}

/* The same image as from a machine with another kernel. */
static bool change(int from, int to)
{
	struct ckpt_image_writer *w = NULL;
	struct ckpt_image *img = NULL;
	struct ckpt_snapshot *snap;
	struct ckpt_err err = CKPT_ERR_INIT;
	uint64_t bytes;
	bool good;

	good = ckpt_image_open(&img, arena, from, dir, &err) >= 0 &&
	       ckpt_image_load(img, &snap, &err) >= 0 &&
	       ckpt_image_create(&w, arena, to, dir, &err) >= 0 && copy_pages(img, w);
	if (good) {
		snap->inventory->vdso.data[snap->inventory->vdso.len - 1] ^= 1;
		good = ckpt_image_commit(w, snap, &bytes, &err) >= 0;
	}
	if (!good)
		diag("%s", err.text);
	ckpt_image_writer_close(w);
	ckpt_image_close(img);
	return good;
}

static bool goes_on(const char *path)
{
	struct shared before = { 0 }, now = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool good = pread(fd, &before, sizeof(before), 0) == sizeof(before);

	for (int i = 0; good && i < 2000 && now.rounds < before.rounds + 20; i++) {
		usleep(5000);
		good = pread(fd, &now, sizeof(now), 0) == sizeof(now);
	}
	close(fd);
	return good && now.rounds >= before.rounds + 20 && !now.errors;
}

static void clean_up(pid_t pid)
{
	char command[64];

	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		diag("%s stays", dir);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char path[64];
	pid_t pid;

	if (geteuid())
		skip_all(
			"only root may choose the pid of a restored process outside of a namespace");
	must(mkdtemp(dir) != NULL, "a folder");
	must(ckpt_arena_open(&arena, 1ul << 30, &err) >= 0, "an arena");
	snprintf(path, sizeof(path), "%s/shared", dir);
	pid = start(path);
	ok(goes_on(path), "the program reads its clocks");
	ok(dump(pid, folder("own")), "it is dumped");
	waitpid(pid, NULL, 0);
	ok(change(folder("own"), folder("other")),
	   "its image is changed to that of another kernel");
	if (ok(restore(folder("other")), "it comes back"))
		ok(goes_on(path), "it reads its clocks through the old vDSO");
	if (ok(dump(pid, folder("again")), "it is dumped once more")) {
		waitpid(pid, NULL, __WALL);
		ok(restore(folder("again")) && goes_on(path), "and comes back once more");
	}
	clean_up(pid);
	ckpt_arena_close(arena);
	return tap_end();
}
