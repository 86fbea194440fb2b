/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: names that an NFS client gives, ways that are longer than PATH_MAX, links on them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/capture/path.h"
#include "engine/plan/path.h"
#include "tests/lib/tap.h"

static bool silly(const char *link, long magic)
{
	struct ckpt_probe probe = { .link = link, .fs_magic = magic, .st.st_mode = S_IFREG };

	return ckpt_is_silly(&probe);
}

static void test_silly(void)
{
	ok(silly("/mnt/.nfs000000000000a1b200000001", NFS_SUPER_MAGIC), "a deleted file of NFS");
	ok(!silly("/mnt/.nfs000000000000a1b200000001", TMPFS_MAGIC), "not of NFS");
	ok(!silly("/mnt/.nfs-config", NFS_SUPER_MAGIC), "a name that somebody gave");
	ok(!silly("/mnt/.nfs00000000x000a1b200000001", NFS_SUPER_MAGIC), "no number");
	ok(!silly("/.nfs000000000000a1b200000001/file", NFS_SUPER_MAGIC),
	   "a file in such a folder");
}

static bool leads_to(int fd, const char *path)
{
	struct stat a, b;

	return fd >= 0 && fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static void test_folder(const char *dir)
{
	char path[200];
	const char *last;
	char *rest;
	int fd;

	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	fd = ckpt_path_folder(path, &last);
	is(fd, -ENOENT, "a folder that is not there");
	fd = ckpt_path_deepest(path, &rest);
	ok(leads_to(fd, dir), "the deepest that is");
	is_text(rest, "a/b/c", "and the rest of the way");
	close(fd);
	free(rest);
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = ckpt_path_folder(path, &last);
	ok(leads_to(fd, dir) && !strcmp(last, "file"), "the folder of a file");
	close(fd);
	snprintf(path, sizeof(path), "%s/loop", dir);
	if (symlink("loop", path) < 0)
		exit(1);
	fd = ckpt_path_directory(path);
	is(fd, -ELOOP, "a link to itself");
	strcat(path, "/x/y");
	is(ckpt_path_folder(path, &last), -ELOOP, "on the way");
}

/* DIR/./././... */
static void test_long(const char *dir)
{
	char *path = malloc(CKPT_PATH_LEN + 200);
	const char *last;
	size_t n = sprintf(path, "%s", dir);
	struct stat st;
	int fd;

	for (; n < CKPT_PATH_LEN - 100; n += 2)
		strcpy(path + n, "/.");
	ok(ckpt_path_sane(path), "a path of %zu bytes", n);
	ok(lstat(path, &st) < 0 && errno == ENAMETOOLONG, "which the kernel does not take");
	fd = ckpt_path_look(path);
	ok(leads_to(fd, dir), "is gone along");
	close(fd);
	strcpy(path + n, "/none");
	is(ckpt_path_look(path), -ENOENT, "to a name that is not there");
	fd = ckpt_path_folder(path, &last);
	ok(leads_to(fd, dir) && !strcmp(last, "none"), "its folder");
	close(fd);
	for (; n < CKPT_PATH_LEN; n += 2)
		strcpy(path + n, "/.");
	ok(!ckpt_path_sane(path), "a longer one is refused");
	ok(!ckpt_path_sane("relative") && !ckpt_path_sane(""), "so are those that are no paths");
	free(path);
}

int main(void)
{
	char dir[] = "/tmp/ckpt-path.XXXXXX", loop[64];

	if (!mkdtemp(dir))
		return 1;
	test_silly();
	test_folder(dir);
	test_long(dir);
	snprintf(loop, sizeof(loop), "%s/loop", dir);
	unlink(loop);
	rmdir(dir);
	return tap_end();
}
