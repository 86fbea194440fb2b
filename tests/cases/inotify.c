/* SPDX-License-Identifier: Apache-2.0 */
/* Watches on files and folders: their numbers, masks and what they see; deleted files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int watch, folder, file, self, once, deleted, gone, other;
static char buf[4096] __attribute__((aligned(8)));

static void touch(const char *name)
{
	int fd = CHECK_CALL(open(name, O_CREAT | O_WRONLY | O_APPEND, 0644));

	CHECK(write(fd, "x", 1) == 1);
	close(fd);
}

static void quiet(int fd)
{
	CHECK(read(fd, buf, sizeof(buf)) < 0 && errno == EAGAIN);
}

/* The next event that was asked for. */
static struct inotify_event *next(int fd)
{
	memset(buf, 0, sizeof(buf));
	CHECK(read(fd, buf, sizeof(buf)) > 0);
	return (void *)buf;
}

static void setup(void)
{
	int wd;

	CHECK_CALL(mkdir("folder", 0755));
	CHECK_CALL(mkdir("once", 0755));
	touch("file");
	watch = CHECK_CALL(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	wd = CHECK_CALL(inotify_add_watch(watch, "file", IN_ACCESS));
	folder = CHECK_CALL(inotify_add_watch(watch, "folder", IN_CREATE | IN_DELETE));
	CHECK_CALL(inotify_rm_watch(watch, wd)); /* numbers have gaps */
	CHECK_INT(next(watch)->mask, IN_IGNORED);
	file = CHECK_CALL(inotify_add_watch(watch, "file", IN_MODIFY | IN_EXCL_UNLINK));
	self = CHECK_CALL(inotify_add_watch(watch, ".", IN_MOVED_TO));
	once = CHECK_CALL(inotify_add_watch(watch, "once", IN_CREATE | IN_ONESHOT));
	other = CHECK_CALL(inotify_init());
	quiet(watch);
}

static void check(void)
{
	struct inotify_event *e;

	quiet(watch);
	touch("folder/new");
	e = next(watch);
	CHECK_INT(e->wd, folder);
	CHECK_INT(e->mask, IN_CREATE);
	CHECK_TEXT(e->name, "new");
	touch("file");
	CHECK_INT(next(watch)->wd, file);
	CHECK_CALL(rename("folder/new", "moved"));
	CHECK_INT(next(watch)->wd, self);
	touch("once/1");
	touch("once/2");
	e = next(watch);
	CHECK_INT(e->wd, once);
	CHECK_TEXT(e->name, "1");
	quiet(watch);
	CHECK_CALL(inotify_rm_watch(watch, folder));
	CHECK_CALL(inotify_add_watch(other, "file", IN_MODIFY));
	CHECK(fcntl(watch, F_GETFD) == FD_CLOEXEC);
	CHECK(!(fcntl(other, F_GETFL) & O_NONBLOCK));
}

/* Made anew, as another inode, which the oracle would see. */
static void setup_deleted(void)
{
	touch("gone");
	watch = CHECK_CALL(inotify_init1(IN_NONBLOCK));
	gone = CHECK_CALL(open("gone", O_RDWR));
	deleted = CHECK_CALL(inotify_add_watch(watch, "gone", IN_MODIFY));
	CHECK_CALL(unlink("gone"));
}

static void check_deleted(void)
{
	quiet(watch);
	CHECK(write(gone, "y", 1) == 1);
	CHECK_INT(next(watch)->wd, deleted);
}

/* Many, which a user has to search for. */
#define MANY 300

static void setup_many(void)
{
	watch = CHECK_CALL(inotify_init1(IN_NONBLOCK));
	CHECK_CALL(mkdir("many", 0755));
	for (int i = 1; i <= MANY; i++) {
		char name[40];

		snprintf(name, sizeof(name), "many/%d", i);
		CHECK_CALL(mkdir(name, 0755));
		strcat(name, "/deep");
		CHECK_CALL(mkdir(name, 0755));
		CHECK_INT(inotify_add_watch(watch, name, IN_CREATE), i);
	}
}

static void check_many(void)
{
	CHECK(case_gap_ns() < 10000000000ll);
	for (int i = 1; i <= MANY; i += 7) {
		char name[40];

		snprintf(name, sizeof(name), "many/%d/deep/new", i);
		touch(name);
		CHECK_INT(next(watch)->wd, i);
	}
}

/* Events that wait are lost, by name; the watch goes on. */
static void setup_queue(void)
{
	CHECK_CALL(mkdir("folder", 0755));
	watch = CHECK_CALL(inotify_init1(IN_NONBLOCK));
	folder = CHECK_CALL(inotify_add_watch(watch, "folder", IN_CREATE));
	touch("folder/before");
}

static void check_queue(void)
{
	touch("folder/after");
	next(watch);
	CHECK(memmem(buf, sizeof(buf), "after", 6));
}

/* Nobody has it open, and it has no name: only the watch keeps it. */
static void setup_lost(void)
{
	touch("file");
	CHECK_CALL(link("file", "elsewhere"));
	watch = CHECK_CALL(inotify_init1(IN_NONBLOCK));
	CHECK_INT(dup2(watch, 66), 66);
	close(watch);
	CHECK_CALL(mkdir("deep", 0700));
	CHECK_CALL(mkdir("deep/er", 0700));
	CHECK_CALL(inotify_add_watch(66, "deep/er", IN_CREATE));
	CHECK_CALL(chmod("deep", 0));
}

static void check_lost(void)
{
	CHECK_CALL(chmod("deep", 0700));
	touch("deep/er/new");
	CHECK_TEXT(next(66)->name, "new");
}

CASES({ "watches keep their numbers, masks and what they see", setup, check },
      { "a deleted file is still watched", setup_deleted, check_deleted, .flags = CASE_LOSSY },
      { "300 watches are found in time", setup_many, check_many },
      { "a watch with events that wait goes on", setup_queue, check_queue,
	.differs = { "*/open/*/fionread", "*/open/*/poll" } },
      { "what a user cannot find is named", setup_lost, check_lost, .flags = CASE_USER,
	.refused = { "fd 66", "CKPT-E0222" } })
