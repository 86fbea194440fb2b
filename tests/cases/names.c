/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose path is not what it was: other names are left, the folder has moved, another mount
 * covers it. The file itself comes back, not a copy. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int fd, other;
static char buf[4200];
static struct stat before;

static int make(const char *name, const char *text)
{
	int f = CHECK_CALL(open(name, O_CREAT | O_EXCL | O_RDWR, 0644));

	CHECK(write(f, text, strlen(text)) == (ssize_t)strlen(text));
	return f;
}

static bool has(int f, const char *text)
{
	return pread(f, buf, sizeof(buf), 0) == (ssize_t)strlen(text) &&
	       !memcmp(buf, text, strlen(text));
}

static void is_before(int f)
{
	struct stat now;

	CHECK_CALL(fstat(f, &now));
	CHECK_INT(now.st_ino, before.st_ino);
	CHECK_INT(now.st_dev, before.st_dev);
}

/* The name by which it was opened is gone, another one beside it is left. */
static void setup_beside(void)
{
	fd = make("a", "linked");
	CHECK_CALL(link("a", "b"));
	CHECK_CALL(unlink("a"));
	CHECK_CALL(fstat(fd, &before));
}

static void check_beside(void)
{
	is_before(fd);
	CHECK(has(fd, "linked"));
	CHECK(pwrite(fd, "LINKED", 6, 0) == 6);
	other = CHECK_CALL(open("b", O_RDONLY));
	CHECK(has(other, "LINKED"));
	CHECK(access("a", F_OK) < 0);
}

/* The other name is in another folder, and there is a new file of the old name. */
static char *shared;

static void setup_away(void)
{
	CHECK_CALL(mkdir("away", 0755));
	fd = make("c", "far");
	CHECK_CALL(ftruncate(fd, 4096));
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED);
	CHECK_CALL(link("c", "away/d"));
	CHECK_CALL(unlink("c"));
	CHECK_CALL(fstat(fd, &before));
}

static void check_away(void)
{
	is_before(fd);
	shared[0] = 'F';
	other = CHECK_CALL(open("away/d", O_RDONLY));
	CHECK(pread(other, buf, 3, 0) == 3 && !memcmp(buf, "Far", 3));
}

static void setup_moved(void)
{
	CHECK_CALL(mkdir("old", 0755));
	fd = make("old/f", "moved");
	other = CHECK_CALL(open("old", O_RDONLY | O_DIRECTORY));
	CHECK_CALL(rename("old", "new"));
	CHECK_CALL(rename("new/f", "new/g"));
	make("new/f", "another");
	CHECK_CALL(fstat(fd, &before));
}

static void check_moved(void)
{
	is_before(fd);
	CHECK(has(fd, "moved"));
	CHECK_INT(faccessat(other, "g", F_OK, 0), 0);
}

/* Its name was taken by another file: it is a deleted one. */
static void setup_replaced(void)
{
	fd = make("p", "first");
	make("q", "second");
	CHECK_CALL(rename("q", "p"));
}

static void check_replaced(void)
{
	CHECK(has(fd, "first"));
	other = CHECK_CALL(open("p", O_RDONLY));
	CHECK(has(other, "second"));
}

CASES({ "a file opened by a name that is gone is found by the one beside it", setup_beside,
	check_beside, .differs = { "*/stat named/ctime" } },
      { "a file with names elsewhere is given one, and stays that file", setup_away, check_away,
	CASE_ONCE, .differs = { "*/stat named/links", "*/stat named/ctime" } },
      { "what was moved is found where it is", setup_moved, check_moved },
      { "what was replaced stays what it was", setup_replaced, check_replaced })
