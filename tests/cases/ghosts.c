/* SPDX-License-Identifier: Apache-2.0 */
/* What has lost its name and is no plain file in a folder that is there: folders, working
 * directories, FIFOs, files of folders that are gone, files with holes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int fd, other;
static char buf[4096];

static void link_is(int number, const char *want)
{
	char path[40], *name;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
	n = CHECK_CALL(readlink(path, buf, sizeof(buf) - 1));
	buf[n] = '\0';
	name = strlen(buf) > strlen(want) ? buf + strlen(buf) - strlen(want) : buf;
	CHECK_TEXT(name, want);
}

static void setup_folder(void)
{
	CHECK_CALL(mkdir("d", 0751));
	fd = CHECK_CALL(open("d", O_RDONLY | O_DIRECTORY));
	other = CHECK_CALL(open("d", O_PATH | O_DIRECTORY));
	CHECK_CALL(rmdir("d"));
}

static void check_folder(void)
{
	struct stat a, b;

	CHECK_CALL(fstat(fd, &a));
	CHECK_CALL(fstat(other, &b));
	CHECK_INT(a.st_ino, b.st_ino);
	CHECK_INT(a.st_nlink, 0);
	CHECK_INT(a.st_mode, S_IFDIR | 0751);
	CHECK(openat(fd, "x", O_CREAT | O_WRONLY, 0600) < 0 && errno == ENOENT);
	CHECK(access("d", F_OK) < 0 && errno == ENOENT);
	link_is(fd, "/d (deleted)");
}

static void check_cwd_child(void)
{
	CHECK(!getcwd(buf, sizeof(buf)) && errno == ENOENT);
	CHECK(chdir("..") == 0 || errno == ENOENT);
}

static void setup_cwd(void)
{
	CHECK_CALL(mkdir("outer", 0755));
	CHECK_CALL(mkdir("outer/inner", 0711));
	CHECK_CALL(chdir("outer/inner"));
	case_child(NULL, check_cwd_child);
	case_child(NULL, check_cwd_child);
	CHECK_CALL(rmdir("../inner"));
	CHECK_CALL(rmdir("../../outer"));
}

static void check_cwd(void)
{
	struct stat st;
	ssize_t n;

	CHECK_CALL(stat(".", &st));
	CHECK_INT(st.st_nlink, 0);
	CHECK_INT(st.st_mode, S_IFDIR | 0711);
	n = CHECK_CALL(readlink("/proc/self/cwd", buf, sizeof(buf) - 1));
	buf[n] = '\0';
	CHECK(strstr(buf, "/outer/inner (deleted)"));
	snprintf(buf, sizeof(buf), "%s/w/outer", case_dir());
	CHECK(access(buf, F_OK) < 0 && errno == ENOENT);
}

static int writer;

static void setup_fifo(void)
{
	CHECK_CALL(mkfifo("f", 0640));
	fd = CHECK_CALL(open("f", O_RDONLY | O_NONBLOCK));
	writer = CHECK_CALL(open("f", O_WRONLY));
	CHECK(write(writer, "unread", 6) == 6);
	CHECK_CALL(unlink("f"));
	CHECK_CALL(mkfifo("g", 0600));
	other = CHECK_CALL(open("g", O_RDWR));
	CHECK_CALL(unlink("g"));
}

static void check_fifo(void)
{
	struct stat st;

	CHECK_CALL(fstat(fd, &st));
	CHECK_INT(st.st_mode, S_IFIFO | 0640);
	CHECK_INT(st.st_nlink, 0);
	CHECK(write(writer, "+", 1) == 1);
	CHECK(read(fd, buf, 100) == 7 && !memcmp(buf, "unread+", 7));
	CHECK(read(fd, buf, 100) < 0 && errno == EAGAIN);
	close(writer);
	CHECK(read(fd, buf, 100) == 0);
	CHECK(write(other, "x", 1) == 1 && read(other, buf, 1) == 1);
	link_is(fd, "/f (deleted)");
	CHECK(access("f", F_OK) < 0);
}

static char *map;

static void setup_nested(void)
{
	CHECK_CALL(mkdir("a", 0700));
	CHECK_CALL(mkdir("a/b", 0700));
	fd = CHECK_CALL(open("a/b/file", O_CREAT | O_RDWR, 0604));
	CHECK(write(fd, "deep", 4) == 4);
	other = CHECK_CALL(open("a/b/lib", O_CREAT | O_RDWR, 0600));
	CHECK(write(other, "code", 4) == 4);
	map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, other, 0);
	CHECK(map != MAP_FAILED);
	close(other);
	CHECK_CALL(unlink("a/b/file"));
	CHECK_CALL(unlink("a/b/lib"));
	CHECK_CALL(rmdir("a/b"));
	CHECK_CALL(rmdir("a"));
}

static void check_nested(void)
{
	struct stat st;

	CHECK(pread(fd, buf, 10, 0) == 4 && !memcmp(buf, "deep", 4));
	CHECK(!memcmp(map, "code", 5));
	CHECK_CALL(fstat(fd, &st));
	CHECK_INT(st.st_mode & 07777, 0604);
	link_is(fd, "/a/b/file (deleted)");
	CHECK(access("a", F_OK) < 0 && errno == ENOENT);
}

#define BIG (1ul << 40)

/* Far larger than the memory or the disk; three of its pages are there. */
static void setup_sparse(void)
{
	fd = CHECK_CALL(open("sparse", O_CREAT | O_RDWR, 0600));
	if (ftruncate(fd, BIG) < 0)
		case_skip("the file system takes no file of %lu bytes: %m", BIG);
	CHECK(pwrite(fd, "a", 1, 0) == 1);
	CHECK(pwrite(fd, "b", 1, BIG / 2 + 7) == 1);
	CHECK(pwrite(fd, "c", 1, BIG - 1) == 1);
	CHECK_CALL(unlink("sparse"));
}

static void check_sparse(void)
{
	struct stat st;

	CHECK_CALL(fstat(fd, &st));
	CHECK_INT(st.st_size, BIG);
	CHECK(st.st_blocks <= 3 * 64 * 2);
	CHECK(pread(fd, buf, 1, 0) == 1 && buf[0] == 'a');
	CHECK(pread(fd, buf, 1, BIG / 2 + 7) == 1 && buf[0] == 'b');
	CHECK(pread(fd, buf, 2, BIG - 1) == 1 && buf[0] == 'c');
	CHECK(pread(fd, buf, 1, BIG / 4) == 1 && buf[0] == 0);
}

static int many[60];

static void check_many_child(void)
{
	for (int i = 0; i < 60; i++)
		CHECK(pread(many[i], buf, 10, 0) == 4 && !memcmp(buf, "many", 4));
}

/* Of one file, by sixty descriptions and in three processes. */
static void setup_many(void)
{
	many[0] = CHECK_CALL(open("many", O_CREAT | O_RDWR, 0600));
	CHECK(write(many[0], "many", 4) == 4);
	for (int i = 1; i < 60; i++)
		many[i] = CHECK_CALL(open("many", i % 3 ? O_RDONLY : O_RDWR | O_APPEND));
	CHECK_CALL(unlink("many"));
	case_child(NULL, check_many_child);
	case_child(NULL, check_many_child);
}

static void check_many(void)
{
	struct stat a, b;

	check_many_child();
	CHECK_CALL(fstat(many[0], &a));
	for (int i = 1; i < 60; i++) {
		CHECK_CALL(fstat(many[i], &b));
		CHECK_INT(a.st_ino, b.st_ino);
		CHECK_INT(lseek(many[i], 0, SEEK_CUR), 0);
	}
}

CASES({ "a deleted folder stays open", setup_folder, check_folder },
      { "processes stay in a working directory that was deleted", setup_cwd, check_cwd },
      { "a deleted FIFO keeps its content and both ends", setup_fifo, check_fifo },
      { "files of a folder that is gone too, open and mapped", setup_nested, check_nested },
      { "a deleted file keeps its holes", setup_sparse, check_sparse },
      { "one deleted file of many descriptions", setup_many, check_many })
