/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that are longer than PATH_MAX, which no link of /proc and no single system call takes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define LEVELS 30 /* of 200 bytes */

static char name[201], buf[64];
static int file, gone, folder, only_path, up;
static char *map, *gone_map;

/* Into a new folder that is deep below this one. */
static void go_down(void)
{
	memset(name, 'd', 200);
	up = CHECK_CALL(open(".", O_RDONLY | O_DIRECTORY));
	for (int i = 0; i < LEVELS; i++) {
		CHECK_CALL(mkdir(name, 0755));
		CHECK_CALL(chdir(name));
	}
}

static void setup_files(void)
{
	go_down();
	file = CHECK_CALL(open("file", O_CREAT | O_RDWR, 0640));
	CHECK(write(file, "content", 7) == 7);
	gone = CHECK_CALL(open("gone", O_CREAT | O_RDWR, 0600));
	CHECK(write(gone, "deleted", 7) == 7);
	gone_map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, gone, 0);
	CHECK(gone_map != MAP_FAILED);
	CHECK_CALL(unlink("gone"));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(map != MAP_FAILED);
	folder = CHECK_CALL(open(".", O_RDONLY | O_DIRECTORY));
	only_path = CHECK_CALL(open("file", O_PATH));
	CHECK_CALL(fchdir(up));
	close(up);
}

static void check_files(void)
{
	struct stat a, b;

	CHECK_CALL(fstat(only_path, &a));
	CHECK_CALL(fstatat(folder, "file", &b, 0));
	CHECK_INT(a.st_ino, b.st_ino);
	CHECK(pread(file, buf, 20, 0) == 7 && !memcmp(buf, "content", 7));
	map[0] = 'C';
	CHECK(pread(file, buf, 1, 0) == 1 && buf[0] == 'C');
	CHECK(pread(gone, buf, 20, 0) == 7 && !memcmp(buf, "deleted", 7));
	CHECK(!memcmp(gone_map, "deleted", 7));
	CHECK_CALL(fstat(gone, &a));
	CHECK_INT(a.st_nlink, 0);
	CHECK(faccessat(folder, "gone", F_OK, 0) < 0 && errno == ENOENT);
}

static void setup_cwd(void)
{
	go_down();
	close(up);
	file = CHECK_CALL(open("beside", O_CREAT | O_WRONLY, 0600));
	close(file);
}

static void check_cwd(void)
{
	char link[PATH_MAX + 20];

	CHECK_CALL(access("beside", F_OK));
	CHECK(readlink("/proc/self/cwd", link, sizeof(link)) < 0 && errno == ENAMETOOLONG);
	CHECK_CALL(chdir("../.."));
	CHECK_CALL(access(name, F_OK));
}

/* Nothing tells where a FIFO is. */
static void setup_fifo(void)
{
	go_down();
	CHECK_CALL(mkfifo("fifo", 0600));
	file = CHECK_CALL(open("fifo", O_RDWR));
	CHECK_CALL(fchdir(up));
}

static void check_fifo(void)
{
	CHECK(write(file, "x", 1) == 1);
}

CASES({ "files of a folder whose path is longer than PATH_MAX", setup_files, check_files },
      { "a working directory whose path is longer than PATH_MAX", setup_cwd, check_cwd },
      { "a FIFO there is refused by name", setup_fifo, check_fifo,
	.refused = { "CKPT-E0280", ": its path has more than 4096 bytes" } })
