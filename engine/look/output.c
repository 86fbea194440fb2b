/* SPDX-License-Identifier: Apache-2.0 */
/* Written without a name, which it gets at the end: who is killed in between leaves nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "engine/look/output.h"

static int cannot_write(const struct ckpt_output *out, int code, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OUTPUT, code, "%s: cannot write: %s", out->path,
			   strerrordesc_np(-code));
}

static int exists(const char *path, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OUTPUT_EXISTS, -EEXIST, "%s: it is there already", path);
}

static int open_nameless(const char *path)
{
	const char *last = strrchr(path, '/');
	char folder[PATH_MAX];

	if (!last)
		return open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (last - path >= PATH_MAX)
		return -1;
	snprintf(folder, sizeof(folder), "%.*s", last == path ? 1 : (int)(last - path), path);
	return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int ckpt_output_open(struct ckpt_output *out, const char *path, struct ckpt_err *err)
{
	struct stat st;

	*out = (struct ckpt_output){ .fd = -1, .path = path };
	if (!lstat(path, &st))
		return exists(path, err);
	out->fd = open_nameless(path);
	if (out->fd >= 0)
		return 0;
	out->fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (out->fd < 0)
		return errno == EEXIST ? exists(path, err) : cannot_write(out, -errno, err);
	out->named = true;
	return 0;
}

int ckpt_output_room(const struct ckpt_output *out, uint64_t bytes, struct ckpt_err *err)
{
	struct statvfs fs;

	if (fstatvfs(out->fd, &fs) < 0 || !fs.f_blocks || bytes / fs.f_frsize <= fs.f_bavail)
		return 0;
	return ckpt_refuse(err, CKPT_E_OUTPUT, -ENOSPC,
			   "%s: cannot write: %llu MiB are needed, %llu MiB are free there",
			   out->path, (unsigned long long)(bytes >> 20),
			   (unsigned long long)(fs.f_bavail * fs.f_frsize >> 20));
}

int ckpt_output_write(const struct ckpt_output *out, const void *data, size_t len, uint64_t at,
		      struct ckpt_err *err)
{
	while (len) {
		ssize_t n = pwrite(out->fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return cannot_write(out, n ? -errno : -ENOSPC, err);
		data = (const char *)data + n;
		at += n;
		len -= n;
	}
	return 0;
}

int ckpt_output_commit(struct ckpt_output *out, struct ckpt_err *err)
{
	char link[40];

	if (out->named) {
		out->named = false;
		return 0;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", out->fd);
	if (!linkat(AT_FDCWD, link, AT_FDCWD, out->path, AT_SYMLINK_FOLLOW))
		return 0;
	return errno == EEXIST ? exists(out->path, err) : cannot_write(out, -errno, err);
}

void ckpt_output_close(struct ckpt_output *out)
{
	if (out->named)
		unlink(out->path);
	if (out->fd >= 0)
		close(out->fd);
	out->fd = -1;
	out->named = false;
}
