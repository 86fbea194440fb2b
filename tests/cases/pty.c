/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo terminals whose master is in the tree: with their sessions, groups, sizes and modes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int master, slave, other, number;
static char buf[200];

static void open_master(void)
{
	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0)
		case_skip("no pseudo terminals: %m");
	CHECK_CALL(grantpt(master));
	CHECK_CALL(unlockpt(master));
	CHECK_CALL(ioctl(master, TIOCGPTN, &number));
}

/* What FROM gets is what is written into TO, within a second. */
static void says(int to, int from, const char *text, const char *want)
{
	struct pollfd p = { from, POLLIN, 0 };
	size_t n = 0;
	ssize_t r;

	CHECK_INT(write(to, text, strlen(text)), strlen(text));
	while (n < strlen(want) && poll(&p, 1, 1000) == 1) {
		r = read(from, buf + n, sizeof(buf) - 1 - n);
		CHECK(r > 0);
		n += r;
	}
	buf[n] = '\0';
	CHECK_TEXT(buf, want);
}

/* ---- both ends in one process ---- */

static void setup(void)
{
	struct winsize size = { 33, 77, 0, 0 };
	struct termios t;
	int on = 1;

	open_master();
	slave = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	other = CHECK_CALL(open(ptsname(master), O_RDONLY | O_NOCTTY | O_NONBLOCK));
	CHECK_CALL(tcgetattr(slave, &t));
	t.c_lflag &= ~(ICANON | ECHO);
	t.c_cc[VINTR] = 7;
	CHECK_CALL(tcsetattr(slave, TCSANOW, &t));
	CHECK_CALL(ioctl(slave, TIOCSWINSZ, &size));
	CHECK_CALL(ioctl(master, TIOCPKT, &on));
	CHECK_CALL(ioctl(slave, TIOCEXCL));
	CHECK_CALL(fchmod(slave, 0640));
	if (poll(&(struct pollfd){ master, POLLIN, 0 }, 1, 0) == 1)
		CHECK(read(master, buf, sizeof(buf)) > 0); /* a note of packet mode */
}

static void check(void)
{
	struct winsize size;
	struct termios t;
	struct stat st;
	int n;

	CHECK_CALL(ioctl(master, TIOCGPTN, &n));
	CHECK_INT(n, number);
	CHECK_CALL(tcgetattr(slave, &t));
	CHECK_INT(t.c_lflag & (ICANON | ECHO), 0);
	CHECK_INT(t.c_cc[VINTR], 7);
	CHECK_CALL(ioctl(other, TIOCGWINSZ, &size));
	CHECK(size.ws_row == 33 && size.ws_col == 77);
	CHECK_CALL(ioctl(master, TIOCGPKT, &n));
	CHECK_INT(n, 1);
	CHECK_CALL(ioctl(slave, TIOCGEXCL, &n));
	CHECK_INT(n, 1);
	CHECK_CALL(fstat(slave, &st));
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_TEXT(ttyname(slave), ptsname(master));
	CHECK_INT(fcntl(other, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK);
	says(master, slave, "in", "in");
	n = 0;
	CHECK_CALL(ioctl(master, TIOCPKT, &n));
	says(slave, master, "out\n", "out\r\n");
}

/* ---- a session ---- */

static volatile sig_atomic_t interrupted;
static pid_t leader, worker;

static void on_signal(int n)
{
	(void)n;
	interrupted = 1;
}

static void setup_worker(void)
{
	CHECK_CALL(setpgid(0, 0));
	worker = getpid();
	signal(SIGINT, on_signal);
}

/* The foreground group gets what is typed. */
static void check_worker(void)
{
	CHECK_INT(tcgetpgrp(slave), getpid());
	CHECK(EVENTUALLY(interrupted));
	CHECK_INT(write(slave, "done\n", 5), 5);
}

static void setup_leader(void)
{
	int tty;

	close(master);
	CHECK_CALL(setsid());
	leader = getpid();
	CHECK_CALL(ioctl(slave, TIOCSCTTY, 0));
	signal(SIGTTOU, SIG_IGN);
	tty = CHECK_CALL(open("/dev/tty", O_RDWR));
	CHECK_CALL(dup2(tty, 60));
	close(tty);
	worker = case_child(setup_worker, check_worker);
	setpgid(worker, worker);
	CHECK_CALL(tcsetpgrp(slave, worker));
}

static void check_leader(void)
{
	CHECK_INT(tcgetsid(slave), getpid());
	CHECK_INT(tcgetsid(60), getpid());
	close(CHECK_CALL(open("/dev/tty", O_RDWR)));
}

static void setup_session(void)
{
	open_master();
	slave = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	leader = case_child(setup_leader, check_leader);
}

static void check_session(void)
{
	int sid;

	CHECK_CALL(ioctl(master, TIOCGSID, &sid));
	CHECK_INT(sid, leader);
	says(master, master, "\003", "^Cdone\r\n");
}

/* ---- half of it ---- */

static void setup_half(void)
{
	struct pollfd p;

	open_master();
	close(CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY)));
	other = master;
	open_master();
	slave = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	close(master);
	p = (struct pollfd){ slave, POLLIN, 0 };
	CHECK(poll(&p, 1, 1000) == 1);
	open_master();
}

static void check_half(void)
{
	struct pollfd p = { other, POLLIN, 0 };

	CHECK(poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
	CHECK_INT(read(slave, buf, 100), 0);
	CHECK(write(slave, "x", 1) < 0 && errno == EIO);
	p.fd = master;
	CHECK(poll(&p, 1, 0) == 0);
	slave = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	says(slave, master, "new\n", "new\r\n");
}

/* Hung up in the other order than they were made, with a number between them that lives. */
static void setup_hung(void)
{
	int masters[3], slaves[3];

	for (int i = 0; i < 3; i++) {
		open_master();
		masters[i] = master;
		slaves[i] = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	}
	CHECK(dup2(slaves[2], 70) == 70 && dup2(slaves[0], 71) == 71);
	close(slaves[2]);
	close(slaves[0]);
	close(masters[0]);
	close(masters[2]);
	master = masters[1];
	slave = slaves[1];
}

static void check_hung(void)
{
	for (int fd = 70; fd < 72; fd++)
		CHECK(write(fd, "x", 1) < 0 && errno == EIO);
	says(slave, master, "lives\n", "lives\r\n");
}

static void setup_unread(void)
{
	setup();
	CHECK_INT(write(master, "unread", 6), 6);
	CHECK(poll(&(struct pollfd){ slave, POLLIN, 0 }, 1, 1000) == 1);
}

static void check_unread(void)
{
	CHECK_INT(read(slave, buf, 100), 6);
}

/* ---- who reads ahead ---- */

static int disciplined;

static void setup_discipline(void)
{
	static const int lines[] = { 27, 13, 2, 1 }; /* N_NULL, N_HDLC, N_MOUSE, N_SLIP */
	int master = CHECK_CALL(posix_openpt(O_RDWR | O_NOCTTY));

	CHECK_CALL(grantpt(master));
	CHECK_CALL(unlockpt(master));
	disciplined = CHECK_CALL(open(ptsname(master), O_RDWR | O_NOCTTY));
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (ioctl(disciplined, TIOCSETD, &lines[i]) == 0)
			return;
	case_skip("there is one line discipline only");
}

static void check_discipline(void)
{
	int line = 0;

	CHECK_CALL(ioctl(disciplined, TIOCGETD, &line));
	CHECK(line != 0);
}

CASES({ "both ends of a terminal come back, under its number", setup, check },
      { "a session with its terminal and its foreground group", setup_session, check_session },
      { "masters without another end, and what has been hung up", setup_half, check_half },
      { "what has been hung up takes nobody's number", setup_hung, check_hung },
      { "what nobody has read is refused by name", setup_unread, check_unread,
	.refused = { "CKPT-E0251", "6 bytes in it have not been read" } },
      { "another line discipline is refused by name", setup_discipline, check_discipline,
	.refused = { "CKPT-E0201", "line discipline" } })
