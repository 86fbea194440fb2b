/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are open as a place only (O_PATH): whatever lies there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int file, folder, link_fd, fifo, sock, device, terminal;

static void setup(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int s = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));

	CHECK_CALL(bind(s, (struct sockaddr *)&a, sizeof(a)));
	CHECK_CALL(listen(s, 1));
	CHECK_CALL(mkfifo("fifo", 0600));
	CHECK_CALL(mkdir("folder", 0700));
	CHECK_CALL(symlink("nowhere", "link"));
	close(CHECK_CALL(open("file", O_CREAT | O_WRONLY, 0600)));
	file = CHECK_CALL(open("file", O_PATH | O_CLOEXEC));
	folder = CHECK_CALL(open("folder", O_PATH | O_DIRECTORY));
	link_fd = CHECK_CALL(open("link", O_PATH | O_NOFOLLOW));
	fifo = CHECK_CALL(open("fifo", O_PATH));
	sock = CHECK_CALL(open("sock", O_PATH));
	device = CHECK_CALL(open("/dev/null", O_PATH));
	terminal = CHECK_CALL(open("/dev/tty", O_PATH));
}

static mode_t type(int fd)
{
	struct stat st;

	CHECK_CALL(fstat(fd, &st));
	CHECK(fcntl(fd, F_GETFL) & O_PATH);
	return st.st_mode & S_IFMT;
}

static void check(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char text[100] = "";
	int s;

	CHECK_INT(type(file), S_IFREG);
	CHECK_INT(type(folder), S_IFDIR);
	CHECK_INT(type(link_fd), S_IFLNK);
	CHECK_INT(type(fifo), S_IFIFO);
	CHECK_INT(type(sock), S_IFSOCK);
	CHECK_INT(type(device), S_IFCHR);
	CHECK_INT(type(terminal), S_IFCHR);
	CHECK(fcntl(file, F_GETFD) == FD_CLOEXEC);
	CHECK(read(fifo, text, 1) < 0 && errno == EBADF);
	CHECK_INT(readlinkat(link_fd, "", text, sizeof(text)), 7);
	CHECK_TEXT(text, "nowhere");
	close(CHECK_CALL(openat(folder, "in", O_CREAT | O_WRONLY, 0600)));
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", sock);
	s = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(connect(s, (struct sockaddr *)&a, sizeof(a)));
}

CASES({ "a place stays a place, whatever lies there", setup, check })
