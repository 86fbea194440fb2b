/* SPDX-License-Identifier: Apache-2.0 */
/* Marks on files, folders and mounts; who decides about accesses is refused. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int group, ids, fs;
static char buf[4096] __attribute__((aligned(8)));

static void touch(const char *name)
{
	int fd = CHECK_CALL(open(name, O_CREAT | O_WRONLY, 0644));

	CHECK(write(fd, "x", 1) == 1);
	close(fd);
}

static int start(unsigned int flags)
{
	int fd = fanotify_init(flags | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE);

	if (fd < 0)
		case_skip("no fanotify: %m");
	return fd;
}

static struct fanotify_event_metadata *next(int fd)
{
	CHECK(read(fd, buf, sizeof(buf)) > 0);
	return (void *)buf;
}

static void setup(void)
{
	CHECK_CALL(mkdir("folder", 0755));
	CHECK_CALL(mkdir("other", 0755));
	touch("file");
	touch("folder/silent");
	group = start(FAN_CLASS_NOTIF);
	CHECK_CALL(fanotify_mark(group, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "file"));
	CHECK_CALL(fanotify_mark(group, FAN_MARK_ADD, FAN_MODIFY | FAN_EVENT_ON_CHILD, AT_FDCWD,
				 "folder"));
	CHECK_CALL(fanotify_mark(
		group, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
		FAN_MODIFY, AT_FDCWD, "folder/silent"));
	ids = start(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME);
	CHECK_CALL(fanotify_mark(ids, FAN_MARK_ADD, FAN_CREATE | FAN_ONDIR, AT_FDCWD, "folder"));
	fs = start(FAN_CLASS_NOTIF);
	CHECK_CALL(fanotify_mark(fs, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_EXEC, AT_FDCWD,
				 "/proc"));
	CHECK_CALL(
		fanotify_mark(fs, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_EXEC, AT_FDCWD, "/proc"));
}

static void check(void)
{
	struct fanotify_event_metadata *e;

	CHECK(read(group, buf, sizeof(buf)) < 0 && errno == EAGAIN);
	CHECK(read(ids, buf, sizeof(buf)) < 0 && errno == EAGAIN);
	touch("folder/silent");
	touch("other/unseen");
	CHECK(read(group, buf, sizeof(buf)) < 0 && errno == EAGAIN);
	touch("file");
	e = next(group);
	CHECK_INT(e->mask, FAN_MODIFY);
	CHECK(e->fd >= 0);
	CHECK_INT(e->pid, getpid());
	close(e->fd);
	touch("folder/new");
	e = next(group);
	CHECK_INT(e->mask, FAN_MODIFY);
	close(e->fd);
	e = next(ids);
	CHECK_INT(e->mask, FAN_CREATE);
	CHECK(memmem(buf, sizeof(buf), "new", 4));
	CHECK(read(fs, buf, sizeof(buf)) < 0 && errno == EAGAIN);
}

/* What an ordinary user may do. */
static void setup_user(void)
{
	CHECK_CALL(mkdir("folder", 0755));
	ids = start(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME);
	CHECK_CALL(fanotify_mark(ids, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "folder"));
}

static void check_user(void)
{
	struct fanotify_event_metadata *e;

	touch("folder/new");
	e = next(ids);
	CHECK_INT(e->mask, FAN_CREATE);
	CHECK(memmem(buf, sizeof(buf), "new", 4));
}

static void setup_judge(void)
{
	touch("file");
	group = start(FAN_CLASS_CONTENT);
	CHECK_INT(dup2(group, 67), 67);
	close(group);
	CHECK_CALL(fanotify_mark(67, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "file"));
}

static void check_judge(void)
{
	CHECK_CALL(fanotify_mark(67, FAN_MARK_REMOVE, FAN_OPEN_PERM, AT_FDCWD, "file"));
}

CASES({ "marks see what they saw", setup, check, .flags = CASE_ROOT },
      { "marks of an ordinary user see what they saw", setup_user, check_user, .flags = CASE_USER },
      { "who decides about accesses is named", setup_judge, check_judge, .flags = CASE_ROOT,
	.refused = { "fd 67", "fanotify", "decides" } })
