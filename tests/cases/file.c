/* SPDX-License-Identifier: Apache-2.0 */
/* Regular files and folders by path: position, flags, sharing of one description, close-on-exec. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

static char text[100];
static int r, w, rw, append, at_end, path_only, no_link;

static int make(const char *name, const char *content)
{
	int fd = CHECK_CALL(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644));

	CHECK(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
	return 0;
}

static void setup(void)
{
	make("r", "0123456789");
	make("w", "abcdefghij");
	make("rw", "ABCDEFGHIJ");
	make("a", "log\n");
	r = CHECK_CALL(open("r", O_RDONLY));
	w = CHECK_CALL(open("w", O_WRONLY | O_CLOEXEC));
	rw = CHECK_CALL(open("rw", O_RDWR));
	append = CHECK_CALL(open("a", O_WRONLY | O_APPEND));
	at_end = CHECK_CALL(open("r", O_RDONLY));
	path_only = CHECK_CALL(open("r", O_PATH));
	no_link = CHECK_CALL(open("r", O_RDONLY | O_NOFOLLOW));
	CHECK(read(r, text, 3) == 3);
	CHECK(write(w, "XY", 2) == 2);
	CHECK_INT(lseek(rw, 7, SEEK_SET), 7);
	CHECK_INT(lseek(at_end, 1000, SEEK_SET), 1000);
}

static void check(void)
{
	struct stat st;

	CHECK(read(r, text, 100) == 7 && !memcmp(text, "3456789", 7));
	CHECK(write(w, "Z", 1) == 1);
	CHECK(fcntl(w, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(r, F_GETFD) == 0);
	CHECK((fcntl(rw, F_GETFL) & O_ACCMODE) == O_RDWR);
	CHECK(read(rw, text, 100) == 3 && !memcmp(text, "HIJ", 3));
	CHECK(fcntl(append, F_GETFL) & O_APPEND);
	CHECK(write(append, "more\n", 5) == 5);
	CHECK_INT(lseek(append, 0, SEEK_CUR), 9);
	CHECK_INT(lseek(at_end, 0, SEEK_CUR), 1000);
	CHECK(read(path_only, text, 1) < 0 && errno == EBADF);
	CHECK(read(no_link, text, 2) == 2 && !memcmp(text, "01", 2));
	CHECK_CALL(fstat(path_only, &st));
	CHECK_INT(st.st_size, 10);
	rw = CHECK_CALL(open("w", O_RDONLY));
	CHECK(read(rw, text, 100) == 10 && !memcmp(text, "XYZdefghij", 10));
	rw = CHECK_CALL(open("a", O_RDONLY));
	CHECK(read(rw, text, 100) == 9 && !memcmp(text, "log\nmore\n", 9));
}

static int one, dup_of_one, high, apart;

static void check_dup_child(void)
{
	/* After the parent has read three bytes and set the mark. */
	CHECK(EVENTUALLY(access("parent-read", F_OK) == 0));
	CHECK_INT(lseek(one, 0, SEEK_CUR), 5);
	CHECK(read(high, text, 1) == 1 && text[0] == '5');
	make("child-read", "");
}

static void setup_dup(void)
{
	make("r", "0123456789");
	one = CHECK_CALL(open("r", O_RDONLY));
	apart = CHECK_CALL(open("r", O_RDONLY));
	dup_of_one = CHECK_CALL(dup(one));
	high = CHECK_CALL(fcntl(one, F_DUPFD_CLOEXEC, 700));
	CHECK_INT(high, 700);
	CHECK(read(one, text, 2) == 2);
	CHECK(read(apart, text, 2) == 2);
	case_child(NULL, check_dup_child);
}

static void check_dup(void)
{
	CHECK(read(dup_of_one, text, 3) == 3 && !memcmp(text, "234", 3));
	CHECK_INT(lseek(apart, 0, SEEK_CUR), 2);
	CHECK(fcntl(high, F_GETFD) == FD_CLOEXEC);
	CHECK_CALL(fcntl(dup_of_one, F_SETFL, O_NONBLOCK | O_NOATIME));
	CHECK(fcntl(one, F_GETFL) & O_NONBLOCK);
	CHECK(!(fcntl(apart, F_GETFL) & O_NONBLOCK));
	make("parent-read", "");
	CHECK(EVENTUALLY(access("child-read", F_OK) == 0));
	CHECK_INT(lseek(high, 0, SEEK_CUR), 6);
}

static DIR *dir;
static int folder;

static void setup_dir(void)
{
	struct dirent *e;

	CHECK_CALL(mkdir("d", 0755));
	for (int i = 0; i < 500; i++) {
		char name[40];

		snprintf(name, sizeof(name), "d/a-name-that-fills-a-block-%03d", i);
		make(name, "");
	}
	dir = opendir("d");
	CHECK(dir);
	folder = CHECK_CALL(open("d", O_RDONLY | O_DIRECTORY));
	/* Past the C library's buffer, so that its next read needs the kernel's position. */
	for (int i = 0; i < 300; i++)
		CHECK((e = readdir(dir)));
}

static void check_dir(void)
{
	int n = 0, fd;

	while (readdir(dir))
		n++;
	CHECK_INT(n, 502 - 300);
	fd = CHECK_CALL(openat(folder, "a-name-that-fills-a-block-007", O_RDONLY));
	CHECK(read(fd, text, 1) == 0);
	dir = fdopendir(folder);
	for (n = 0; readdir(dir); n++)
		;
	CHECK_INT(n, 502);
}

static void setup_closed(void)
{
	close(0);
	close(1);
	CHECK_INT(dup2(2, 5), 5);
	make("r", "x");
	CHECK_INT(open("r", O_RDONLY), 0);
}

static void check_closed(void)
{
	CHECK(fcntl(1, F_GETFD) < 0 && errno == EBADF);
	CHECK(read(0, text, 10) == 1);
	CHECK(write(5, "# still there\n", 14) == 14);
}

static int proc_file, sys_file;

static void setup_pseudo(void)
{
	proc_file = CHECK_CALL(open("/proc/filesystems", O_RDONLY));
	sys_file = CHECK_CALL(open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY));
	CHECK(read(proc_file, text, 6) == 6);
}

static void check_pseudo(void)
{
	CHECK(read(proc_file, text, 50) > 0);
	CHECK(read(sys_file, text, 50) > 0);
}

CASES({ "regular files keep position, access and flags", setup, check },
      { "duplicates share their description, in one process and across", setup_dup, check_dup },
      { "folders keep their position", setup_dir, check_dir },
      { "closed standard descriptors stay closed", setup_closed, check_closed },
      { "files of the kernel stay readable", setup_pseudo, check_pseudo })
