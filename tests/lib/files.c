/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files and folders of tests.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/proc.h"

#define DEPTH_MAX 100 /* of folders in each other that are removed */

char *test_text(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	return text;
}

bool test_exists(const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	return access(path, F_OK) == 0;
}

bool test_write(const char *path, const char *fmt, ...)
{
	char text[4096], temp[PATH_MAX];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	snprintf(temp, sizeof(temp), "%s.%d.new", path, (int)gettid());
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return false;
	n = write(fd, text, n) == n && fchmod(fd, 0666) == 0 ? 0 : -1;
	close(fd);
	return n == 0 && rename(temp, path) == 0;
}

char *test_read(const char *path, size_t *lenp)
{
	size_t len = 0, room = 4096;
	char *text = malloc(room + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = -1;

	while (fd >= 0 && text && (n = read(fd, text + len, room - len)) > 0) {
		len += n;
		if (len == room)
			text = realloc(text, (room *= 2) + 1);
	}
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[len] = 0;
	if (lenp)
		*lenp = len;
	return text;
}

long test_number(const char *path)
{
	char *text = test_read(path, NULL);
	long n = text ? atol(text) : -1;

	free(text);
	return n;
}

static void remove_below(int dirfd, unsigned int depth)
{
	DIR *dir = fdopendir(dirfd);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int fd;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(dirfd, e->d_name, 0) == 0 || depth == 0)
			continue;
		fd = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			remove_below(fd, depth - 1);
		unlinkat(dirfd, e->d_name, AT_REMOVEDIR);
	}
	if (dir)
		closedir(dir);
}

void test_remove_tree(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		remove_below(fd, DEPTH_MAX);
	rmdir(path);
}

int test_n_files(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2; /* "." and ".." */
}

bool test_copy(const char *from, const char *to, mode_t mode)
{
	size_t len;
	char *bytes = test_read(from, &len);
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	bool done = bytes && fd >= 0 && write(fd, bytes, len) == (ssize_t)len;

	if (fd >= 0)
		close(fd);
	free(bytes);
	return done;
}

const char *test_find_ckpt(const char *argv0)
{
	char self[PATH_MAX], *dir, *found;

	found = getenv("CKPT") ? realpath(getenv("CKPT"), NULL) : realpath("./ckpt", NULL);
	if (!found && realpath(argv0, self)) {
		/* BUILD/tests/cases/NAME */
		dir = dirname(dirname(dirname(self)));
		strncat(dir, "/ckpt", sizeof(self) - strlen(dir) - 1);
		found = realpath(dir, NULL);
	}
	if (found && access(found, X_OK) == 0)
		return found;
	printf("skip - there is no ckpt: build it, or name it by CKPT=\n");
	exit(77);
}

char *test_temp_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = test_text("%s/ckpt-test.XXXXXX", base && *base ? base : "/tmp");

	if (!mkdtemp(dir) || chmod(dir, 0777) < 0) {
		perror(dir);
		exit(99);
	}
	return dir;
}
