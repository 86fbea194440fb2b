/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of open files but sockets: made, dumped, closed, restored and looked at. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/codes.h"
#include "tests/lib/file-stage.h"
#include "tests/lib/tap.h"

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static unsigned int n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static bool holds(int fd, const char *text)
{
	char buf[256] = "";

	return pread(fd, buf, sizeof(buf) - 1, 0) == (ssize_t)strlen(text) && !strcmp(buf, text);
}

static bool gives(int fd, const char *text)
{
	char buf[256] = "";

	return read(fd, buf, sizeof(buf) - 1) == (ssize_t)strlen(text) && !strcmp(buf, text);
}

/* The round trip fails, with that number. */
static bool refused(struct file_stage *s, int number)
{
	bool done = file_round_trip(s);

	printf("# %s\n", s->problem);
	return !done && s->number == number;
}

static void test_file(void)
{
	int rw = open(in_dir("plain"), O_RDWR | O_CREAT, 0640), ro, ap,
	    folder = open(dir, O_RDONLY | O_DIRECTORY);
	struct file_stage s = { .fd = { rw }, .n = 1 };

	ok(write(rw, "0123456789", 10) == 10, "a file");
	lseek(rw, 3, SEEK_SET);
	ro = open(in_dir("plain"), O_RDONLY);
	ap = open(in_dir("plain"), O_WRONLY | O_APPEND | O_SYNC);
	ok(file_round_trip_of(rw, ro, ap, folder, dup(rw), open(dir, O_PATH), -1), "it comes back");
	ok(gives(rw, "3456789"), "where it was");
	is(lseek(ro, 0, SEEK_CUR), 0, "another description has another position");
	ok(write(ap, "x", 1) == 1 && fcntl(ap, F_GETFL) & O_APPEND &&
		   (fcntl(ap, F_GETFL) & O_SYNC) == O_SYNC,
	   "one to append to, synchronously");
	link(in_dir("plain"), in_dir("other"));
	unlink(in_dir("plain"));
	ok(file_round_trip(&s) && holds(rw, "0123456789x"), "one that has only another name left");
	close(rw), close(ro), close(ap), close(folder);
}

static void test_deleted(void)
{
	int rw = open(in_dir("gone"), O_RDWR | O_CREAT, 0600), ro = open(in_dir("gone"), O_RDONLY);
	int ap = open(in_dir("gone"), O_WRONLY | O_APPEND);
	struct stat st, st2;
	char link[256] = "", path[32];

	fchmod(rw, 0400);
	ok(write(rw, "content", 7) == 7 && unlink(in_dir("gone")) == 0, "a deleted file");
	fstat(rw, &st);
	ok(file_round_trip_of(ro, rw, ap, -1), "it comes back");
	ok(holds(ro, "content") && holds(rw, "content"), "with what was in it");
	fstat(ro, &st2);
	ok(st2.st_nlink == 0 && st2.st_mode == st.st_mode && st2.st_mtime == st.st_mtime,
	   "as it was");
	is(fcntl(ro, F_GETFL) & O_ACCMODE, O_RDONLY, "open for reading only");
	is(lseek(rw, 0, SEEK_CUR), 7, "position of the other one");
	ok(write(ap, "!", 1) == 1 && holds(ro, "content!"), "one file still, to append to");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ro);
	ok(readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "/gone (deleted)"),
	   "of the same name");
	close(ro), close(rw), close(ap);
}

static void test_chardev(void)
{
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY | O_NONBLOCK);
	char c = 1;

	ok(file_round_trip_of(null, zero, -1), "devices come back");
	ok(write(null, &c, 1) == 1 && read(zero, &c, 1) == 1 && !c, "and are what they were");
	ok(fcntl(zero, F_GETFL) & O_NONBLOCK, "with their flags");
	close(null), close(zero);
}

static void test_pipe(void)
{
	int p[2], q[2];
	char path[32], buf[16];
	struct file_stage s = { .n = 0 };

	ok(pipe(p) == 0 && fcntl(p[0], F_SETPIPE_SZ, 16384) == 16384 &&
		   write(p[1], "hello", 5) == 5,
	   "a pipe");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	q[0] = open(path, O_RDONLY | O_NONBLOCK);
	ok(file_round_trip_of(p[1], p[0], q[0], -1), "it comes back");
	is(fcntl(p[1], F_GETPIPE_SZ), 16384, "capacity");
	ok(gives(q[0], "hello") && fcntl(q[0], F_GETFL) & O_NONBLOCK &&
		   !(fcntl(p[0], F_GETFL) & O_NONBLOCK),
	   "content, flags");
	close(q[0]), close(p[1]);
	ok(read(p[0], buf, 1) == 0, "no other end was kept");
	ok(file_round_trip_of(p[0], -1) && read(p[0], buf, 1) == 0, "one end without the other");
	close(p[0]);
	ok(pipe2(p, O_DIRECT) == 0 && write(p[1], "ab", 2) == 2 && write(p[1], "c", 1) == 1,
	   "packets");
	ok(file_round_trip_of(p[0], p[1], -1) && gives(p[0], "ab") && gives(p[0], "c"),
	   "stay packets");
	ok(write(p[1], "x", 1) == 1 && file_round_trip_of(p[0], p[1], -1) &&
		   write(p[1], "y", 1) == 1 && gives(p[0], "x"),
	   "even a single one");
	s.fd[s.n++] = p[1];
	ok(refused(&s, CKPT_E_EXTERNAL_PEER), "a reader outside is refused");
	close(p[0]), close(p[1]);
}

static void test_full_pipe(void)
{
	static char buf[65536], got[65536];
	int p[2];

	pipe2(p, O_NONBLOCK);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = i * 7 >> 3;
	is(write(p[1], buf, sizeof(buf)), sizeof(buf), "a full pipe");
	ok(file_round_trip_of(p[0], p[1], -1), "comes back");
	ok(write(p[1], "", 1) < 0 && read(p[0], got, sizeof(got)) == sizeof(got) &&
		   !memcmp(got, buf, sizeof(got)),
	   "full");
	close(p[0]), close(p[1]);
}

static void test_fifo(void)
{
	const char *path = in_dir("fifo");
	struct pollfd f = { .events = POLLIN };
	int r, w;
	char c;

	mkfifo(path, 0600);
	r = open(path, O_RDONLY | O_NONBLOCK);
	f.fd = r;
	ok(file_round_trip_of(r, -1), "a reader comes back");
	ok(poll(&f, 1, 0) == 0, "and waits for its first writer");
	w = open(path, O_WRONLY);
	ok(write(w, "abc", 3) == 3 && file_round_trip_of(r, w, -1), "with one, and content");
	ok(gives(r, "abc") && read(r, &c, 1) < 0 && errno == EAGAIN, "all of it");
	close(w);
	ok(file_round_trip_of(r, -1) && read(r, &c, 1) == 0 && poll(&f, 1, 0) == 1, "at its end");
	close(r);
}

static void test_counters(void)
{
	int e = eventfd(5, EFD_SEMAPHORE), s, t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	int a = timerfd_create(CLOCK_REALTIME, 0), o = timerfd_create(CLOCK_BOOTTIME, 0);
	struct itimerspec its = { { 100, 0 }, { 0, 1 } },
			  abs = { .it_value.tv_sec = time(NULL) + 500 };
	struct itimerspec once = { .it_value.tv_nsec = 1 }, now;
	struct signalfd_siginfo si;
	uint64_t v;
	sigset_t set;

	sigemptyset(&set), sigaddset(&set, SIGUSR1), sigprocmask(SIG_BLOCK, &set, NULL);
	s = signalfd(-1, &set, SFD_NONBLOCK);
	timerfd_settime(t, 0, &its, NULL);
	timerfd_settime(a, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &abs, NULL);
	timerfd_settime(o, 0, &once, NULL);
	usleep(2000);
	ok(file_round_trip_of(e, s, t, a, o, -1), "eventfd, signalfd, timerfd come back");
	ok(read(e, &v, 8) == 8 && v == 1 && read(e, &v, 8) == 8, "a semaphore");
	kill(getpid(), SIGUSR1);
	ok(read(s, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1, "a signal");
	ok(timerfd_gettime(t, &now) == 0 && now.it_interval.tv_sec == 100 &&
		   now.it_value.tv_sec > 95,
	   "an interval");
	ok(read(t, &v, 8) == 8 && v == 1, "an expiration");
	ok(timerfd_gettime(a, &now) == 0 && now.it_value.tv_sec > 490 && now.it_value.tv_sec <= 500,
	   "an absolute time");
	ok(timerfd_gettime(o, &now) == 0 && !now.it_value.tv_sec && !now.it_value.tv_nsec &&
		   read(o, &v, 8) == 8,
	   "one that is over");
	close(e), close(s), close(t), close(a), close(o);
}

static void test_epoll(void)
{
	int ep = epoll_create1(0), outer = epoll_create1(0), e = eventfd(1, 0), p[2],
	    other = eventfd(0, 0), moved;
	struct epoll_event ev = { EPOLLIN, { .u64 = 0x1122334455667788 } }, got[8];

	pipe(p);
	epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev);
	ev = (struct epoll_event){ EPOLLIN | EPOLLET, { .u64 = 2 } };
	epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev);
	ev = (struct epoll_event){ EPOLLOUT | EPOLLONESHOT, { .u64 = 3 } };
	epoll_ctl(outer, EPOLL_CTL_ADD, other, &ev);
	ok(epoll_wait(outer, got, 8, 0) == 1 && got[0].data.u64 == 3 &&
		   epoll_wait(outer, got, 8, 0) == 0,
	   "one that has fired");
	ev = (struct epoll_event){ EPOLLIN, { .u64 = 4 } };
	epoll_ctl(outer, EPOLL_CTL_ADD, ep, &ev);
	moved = dup(p[0]);
	close(p[0]);
	ok(file_round_trip_of(ep, outer, e, other, p[1], moved, -1),
	   "epoll comes back, nested, with a closed number");
	ok(epoll_wait(ep, got, 8, 0) == 1 && got[0].data.u64 == 0x1122334455667788,
	   "what is ready");
	ok(write(p[1], "x", 1) == 1 && epoll_wait(ep, got, 8, 0) == 2,
	   "what was added by a number that is closed now");
	ok(epoll_wait(ep, got, 8, 0) == 1, "edge triggered");
	ok(epoll_wait(outer, got, 8, 0) == 1 && got[0].data.u64 == 4,
	   "what has fired stays silent");
	ev = (struct epoll_event){ EPOLLOUT | EPOLLONESHOT, { .u64 = 5 } };
	ok(epoll_ctl(outer, EPOLL_CTL_MOD, other, &ev) == 0 && epoll_wait(outer, got, 8, 0) == 2,
	   "and can be armed again");
	close(ep), close(outer), close(e), close(other), close(p[1]), close(moved);
}

static void test_memfd(void)
{
	int m = memfd_create("name (deleted)", MFD_ALLOW_SEALING), ro, plain = memfd_create("", 0);
	char path[32];
	struct stat st;

	ok(write(m, "sealed", 6) == 6, "a memfd");
	fchmod(m, 0400);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	ro = open(path, O_RDONLY);
	fcntl(m, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK);
	ok(file_round_trip_of(ro, m, plain, -1), "comes back");
	ok(holds(ro, "sealed") && holds(m, "sealed") && lseek(m, 0, SEEK_CUR) == 6,
	   "content and position");
	is(fcntl(m, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK, "seals");
	is(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL, "and none, where sealing is forbidden");
	is(fcntl(ro, F_GETFL) & O_ACCMODE, O_RDONLY, "one for reading");
	ok(fstat(m, &st) == 0 && (st.st_mode & 07777) == 0400, "permissions");
	close(m), close(ro), close(plain);
}

static void test_proc(void)
{
	struct file_stage s = { .fd = { open("/proc/1/mounts", O_RDONLY) }, .n = 1 };
	int m = open("/proc/meminfo", O_RDONLY);

	ok(refused(&s, CKPT_E_FILE_KIND), "a file about another process is refused");
	ok(file_round_trip_of(m, -1), "one about the machine is not");
	close(m), close(s.fd[0]);
}

static void test_tty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	struct file_stage s = { .n = 1 };

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return;
	s.fd[0] = open(ptsname(master), O_RDWR | O_NOCTTY);
	ok(refused(&s, CKPT_E_SHELL_JOB), "a terminal wants --shell-job");
	close(s.fd[0]);
	s.fd[0] = master;
	s.shell_job = true;
	ok(file_round_trip(&s), "a master comes back");
	close(master);
}

int main(void)
{
	strcpy(dir, "/tmp/ckpt-test-kinds.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	test_file();
	test_deleted();
	test_chardev();
	test_pipe();
	test_full_pipe();
	test_fifo();
	test_counters();
	test_epoll();
	test_memfd();
	test_proc();
	test_tty();
	unlink(in_dir("other")), unlink(in_dir("fifo"));
	ok(rmdir(dir) == 0, "nothing else was left in the folder");
	return tap_end();
}
