/* SPDX-License-Identifier: Apache-2.0 */
/* Folders and log of one invocation. A folder that a dump made goes again if the dump fails. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/ckpt.h"

#define LOCK_TRIES 100
#define LOCK_NAP_US 1000

static int cannot_open(struct ckpt_tool *t, const char *dir, bool make, int code)
{
	if (make)
		return ckpt_refuse(&t->err, CKPT_E_IMAGE_UNWRITABLE, code,
				   "%s: cannot use as the images folder: %s", dir,
				   strerrordesc_np(-code));
	return ckpt_refuse(&t->err, CKPT_E_NO_IMAGE, code, "%s: cannot open: %s", dir,
			   strerrordesc_np(-code));
}

/* The image goes through standard output, what is said goes with the messages; or it comes through
 * standard input. */
static int open_stream(struct ckpt_tool *t, bool make)
{
	int fd = make ? STDOUT_FILENO : STDIN_FILENO;
	CKPT_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);

	t->opts.images_dir = make ? "standard output" : "standard input";
	if (!t->opts.work_dir)
		t->opts.work_dir = ".";
	if (isatty(fd))
		return ckpt_refuse(&t->err, CKPT_E_STREAM_TERMINAL, -ENOTTY,
				   "%s: an image is not for a terminal", t->opts.images_dir);
	t->dirfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (t->dirfd < 0 || null < 0 || dup2(make ? STDERR_FILENO : null, fd) < 0)
		return ckpt_fail(&t->err, -errno, "%s: cannot use it", t->opts.images_dir);
	signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write(2) */
	return 0;
}

/* "img/" is said as "img" in messages. */
static const char *without_slashes(struct ckpt_tool *t)
{
	char *dir = ckpt_strdup(t->arena, t->opts.images_dir);

	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = 0;
	return dir;
}

/* A dump that fails takes the folder away that it made, but not from another one, which has a lock
 * on it. Errors as of open(2). */
static int open_shared(const char *dir)
{
	CKPT_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int tries = LOCK_TRIES;
	struct stat st;

	if (fd < 0)
		return -1;
	while (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK && tries--)
		usleep(LOCK_NAP_US);
	errno = ENOENT;
	return fstat(fd, &st) < 0 || !st.st_nlink ? -1 : ckpt_take_fd(&fd);
}

static void remove_made(int dirfd, const char *dir)
{
	struct stat st;

	/* Where there are no locks nobody else has one. */
	if (flock(dirfd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return;
	if (!fstat(dirfd, &st) && st.st_nlink)
		rmdir(dir);
}

static int make_images(struct ckpt_tool *t, const char *dir)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		t->dirfd = open_shared(dir);
		if (t->dirfd >= 0 || errno != ENOENT)
			break;
		/* Whoever reads it reads the memory of the programs. */
		t->made_dir = !mkdir(dir, 0700);
		if (!t->made_dir && errno != EEXIST)
			break;
	}
	return t->dirfd < 0 ? cannot_open(t, dir, true, -errno) : 0;
}

static int open_images(struct ckpt_tool *t, bool make)
{
	const char *dir = t->opts.images_dir = without_slashes(t);

	if (!strcmp(dir, "-"))
		return open_stream(t, make);
	if (make)
		return make_images(t, dir);
	t->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->dirfd < 0 ? cannot_open(t, dir, make, -errno) : 0;
}

const char *ckpt_work_path(struct ckpt_tool *t, const char *path)
{
	const char *dir = t->opts.work_dir ? t->opts.work_dir : t->opts.images_dir;
	size_t size = strlen(dir) + strlen(path) + 2;
	char *joined;

	if (*path == '/')
		return path;
	joined = ckpt_alloc(t->arena, size);
	snprintf(joined, size, "%s/%s", dir, path);
	return joined;
}

/* Without -o the log is for who asked for it with -v. */
static int open_log(struct ckpt_tool *t)
{
	int level = t->opts.verbosity < 0 ? 2 : t->opts.verbosity;
	const char *path;

	ckpt_log_init(&t->log, t->opts.verbosity > 0 ? STDERR_FILENO : -1, level);
	if (!t->opts.log_file)
		return 0;
	path = ckpt_work_path(t, t->opts.log_file);
	if (!strcmp(t->opts.log_file, "-"))
		t->logfd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		t->logfd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t->logfd < 0)
		return ckpt_refuse(&t->err, CKPT_E_OUTPUT, -errno, "%s: cannot write the log: %s",
				   path, strerrordesc_np(errno));
	ckpt_log_init(&t->log, t->logfd, level);
	return 0;
}

int ckpt_tool_images(struct ckpt_tool *t)
{
	if (t->dirfd >= 0)
		close(t->dirfd);
	t->dirfd = -1;
	return open_images(t, false);
}

enum ckpt_clock_choice ckpt_tool_clock(const struct ckpt_tool *t)
{
	if (!t->opts.clock)
		return CKPT_CLOCK_AUTO;
	return !strcmp(t->opts.clock, "host")     ? CKPT_CLOCK_HOST :
	       !strcmp(t->opts.clock, "continue") ? CKPT_CLOCK_CONTINUE :
						    CKPT_CLOCK_AUTO;
}

int ckpt_tool_open(struct ckpt_tool *t, bool make)
{
	const unsigned int none = CKPT_CMD_CHECK | CKPT_CMD_X | CKPT_CMD_DIFF | CKPT_CMD_MIGRATE;
	int r = t->opts.command->bit & none ? 0 : open_images(t, make);

	return r < 0 ? r : open_log(t);
}

void ckpt_tool_close(struct ckpt_tool *t, bool failed)
{
	if (failed && t->made_dir && t->dirfd >= 0)
		remove_made(t->dirfd, t->opts.images_dir);
	if (t->logfd >= 0)
		close(t->logfd);
	if (t->dirfd >= 0)
		close(t->dirfd);
	t->logfd = t->dirfd = -1;
}
