/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that few programs do: a row for each. As in operations.c. */
#include <fcntl.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"
#include "tests/property/operations.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* ---- files ---- */

/* Events that happen to no folder: those that wait are lost by name. */
static long op_inotify(const int *a)
{
	int fd = inotify_init1(IN_NONBLOCK);

	for (int i = 0; i < a[1]; i++)
		inotify_add_watch(fd, i & 1 ? "/" : ".", IN_MOVE_SELF | IN_ONLYDIR);
	return operation_put(fd, a[0]);
}

static long op_special(const int *a)
{
	static const char *const paths[] = { "/dev/null", "/dev/zero",
					     "/dev/full", "/proc/self/comm",
					     "/usr",      "/proc/self/oom_score_adj" };

	return operation_put(open(paths[a[1]], O_RDONLY | O_NONBLOCK), a[0]);
}

static long op_path(const int *a)
{
	return operation_put(open(operation_file(a[1]), O_PATH), a[0]);
}

static long op_fifo(const int *a)
{
	mkfifo("fifo", 0600);
	return operation_put(open("fifo", (a[1] ? O_RDWR : O_RDONLY) | O_NONBLOCK), a[0]);
}

static long op_queue(const int *a)
{
	struct mq_attr attr = { .mq_maxmsg = 1 + a[1], .mq_msgsize = 16 };
	char name[40];
	long r;

	snprintf(name, sizeof(name), "/ckpt-property-%d", getpid());
	r = operation_put(mq_open(name, O_CREAT | O_RDONLY | O_NONBLOCK, 0600, &attr), a[0]);
	mq_unlink(name);
	return r;
}

static long op_pidfd(const int *a)
{
	return operation_put(syscall(SYS_pidfd_open, a[1] ? getpid() : getppid(), 0), a[0]);
}

static long op_terminal(const int *a)
{
	int fd[2];

	fd[0] = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (fd[0] < 0 || unlockpt(fd[0]) < 0)
		return -1;
	fd[1] = ioctl(fd[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
	operation_put(fd[0], a[0]);
	return operation_put(fd[1], a[1]);
}

static long op_owner(const int *a)
{
	if (a[2])
		fcntl(operation_slot(a[0]), F_SETSIG, SIGRTMIN + a[2]);
	return fcntl(operation_slot(a[0]), F_SETOWN, a[1] ? getpid() : 0);
}

static long op_file_lock(const int *a)
{
	struct flock l = { .l_type = a[1] == 2 ? F_UNLCK :
				     a[1]      ? F_WRLCK :
						 F_RDLCK,
			   .l_start = a[2] * 10,
			   .l_len = 15 };

	return fcntl(operation_slot(a[0]), F_OFD_SETLK, &l);
}

static long op_hole(const int *a)
{
	return fallocate(operation_slot(a[0]), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 a[1] * 4096, 4096);
}

static long op_pipe_size(const int *a)
{
	return fcntl(operation_slot(a[0]), F_SETPIPE_SZ, 4096 << a[1]);
}

static long op_tee(const int *a)
{
	return tee(operation_slot(a[0]), operation_slot(a[1]), 1 + a[2], SPLICE_F_NONBLOCK);
}

static long op_epoll_change(const int *a)
{
	static const uint32_t events[] = { EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLET, EPOLLOUT, 0 };
	struct epoll_event e = { .events = events[a[2]], .data.u32 = a[2] };

	return epoll_ctl(operation_slot(a[0]), a[2] < 3 ? EPOLL_CTL_MOD : EPOLL_CTL_DEL,
			 operation_slot(a[1]), &e);
}

/* ---- sockets ---- */

static long op_send_fd(const int *a)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { "descriptor", 10 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fd = operation_slot(a[1]);

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(operation_slot(a[0]), &m, MSG_DONTWAIT);
}

static long op_receive_fd(const int *a)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char text[10];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(operation_slot(a[0]), &m, MSG_DONTWAIT);
	int fd;

	if (n < 0 || m.msg_controllen < sizeof(control.head) ||
	    control.head.cmsg_type != SCM_RIGHTS)
		return n;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return 1000 + operation_put(fd, a[1]);
}

static long op_inet(const int *a)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, (a[1] ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);

	if (a[2] && bind(fd, (void *)&in, sizeof(in)) == 0 && !a[1])
		listen(fd, 1 + a[2]);
	return operation_put(fd, a[0]);
}

static long op_netlink(const int *a)
{
	return operation_put(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE), a[0]);
}

static long op_sockopt(const int *a)
{
	static const int names[] = { SO_RCVBUF,    SO_SNDBUF,    SO_PASSCRED, SO_KEEPALIVE,
				     SO_REUSEADDR, SO_BROADCAST, SO_PRIORITY, SO_RCVLOWAT };
	int value = a[1] < 2 ? 5000 * (1 + a[2]) : a[2];

	return setsockopt(operation_slot(a[0]), SOL_SOCKET, names[a[1]], &value, sizeof(value));
}

/* ---- memory ---- */

static long op_mlock(const int *a)
{
	static int (*const f[])(const void *, size_t) = { mlock, munlock };

	return f[a[2]](OPERATION_AREA(a[0]) + a[1] * 4096, 3 * 4096);
}

static long op_mlockall(const int *a)
{
	static const int flags[] = { MCL_FUTURE, MCL_FUTURE | MCL_ONFAULT, MCL_CURRENT };

	return a[0] < 3 ? mlockall(flags[a[0]]) : munlockall();
}

static long op_name(const int *a)
{
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, OPERATION_AREA(a[0]) + a[1] * 4096, 2 * 4096,
		     a[2] ? "a name" : "another");
}

static long op_advise(const int *a)
{
	static const int advice[] = { MADV_MERGEABLE, MADV_GUARD_INSTALL, MADV_HUGEPAGE,
				      MADV_DODUMP };

	return madvise(OPERATION_AREA(a[0]) + a[1] * 4096, 2 * 4096, advice[a[2]]);
}

static long op_segment(const int *a)
{
	int id = shmget(IPC_PRIVATE, 4 * 4096, 0600);
	void *at = shmat(id, OPERATION_AREA(a[0]), SHM_REMAP | (a[1] ? SHM_RDONLY : 0));

	shmctl(id, IPC_RMID, NULL);
	return at == (void *)-1 ? -1 : 0;
}

/* ---- processes ---- */

static long op_schedule(const int *a)
{
	static const int policies[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE };

	return sched_setscheduler(0, policies[a[0]], &(struct sched_param){ 0 });
}

static long op_processor(const int *a)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(a[0], &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static long op_ioprio(const int *a)
{
	return syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, (2 + a[0]) << 13 | a[1]);
}

static long op_altstack(const int *a)
{
	static char room[1 << 16];
	stack_t s = { .ss_sp = room, .ss_size = sizeof(room) >> a[0] };

	return sigaltstack(&s, NULL);
}

static long op_membarrier(const int *a)
{
	return syscall(SYS_membarrier, a[0] ? 1 << 4 : 1 << 2, 0, 0); /* registrations */
}

static long op_oom(const int *a)
{
	char text[16];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	long r = write(fd, text, snprintf(text, sizeof(text), "%d", 100 + a[0]));

	close(fd);
	return r;
}

#define S PROGRAM_SLOTS
#define M OPERATION_AREAS
#define P (OPERATION_PAGES - 4)
static const struct operation rows[] = {
	{ "inotify", 2, { S, 3 }, op_inotify },
	{ "special", 3, { S, 6 }, op_special },
	{ "path", 2, { S, 4 }, op_path },
	{ "fifo", 2, { S, 2 }, op_fifo },
	{ "queue", 1, { S, 3 }, op_queue },
	{ "pidfd", 1, { S, 2 }, op_pidfd },
	{ "terminal", 1, { S, S }, op_terminal },
	{ "owner", 2, { S, 2, 3 }, op_owner },
	{ "file_lock", 1, { S, 3, 5 }, op_file_lock },
	{ "hole", 1, { S, 2 }, op_hole },
	{ "pipe_size", 1, { S, 5 }, op_pipe_size },
	{ "tee", 2, { S, S, 50 }, op_tee },
	{ "epoll_change", 2, { S, S, 4 }, op_epoll_change },
	{ "send_fd", 3, { S, S }, op_send_fd },
	{ "receive_fd", 2, { S, S }, op_receive_fd },
	{ "inet", 2, { S, 2, 3 }, op_inet },
	{ "netlink", 1, { S }, op_netlink },
	{ "sockopt", 3, { S, 8, 3 }, op_sockopt },
	{ "mlock", 2, { M, P, 2 }, op_mlock },
	{ "mlockall", 1, { 4 }, op_mlockall },
	{ "name", 2, { M, P, 2 }, op_name },
	{ "advise", 2, { M, P, 4 }, op_advise },
	{ "segment", 1, { M, 2 }, op_segment },
	{ "schedule", 1, { 3 }, op_schedule },
	{ "processor", 1, { 2 }, op_processor },
	{ "ioprio", 1, { 2, 8 }, op_ioprio },
	{ "altstack", 1, { 3 }, op_altstack },
	{ "membarrier", 1, { 2 }, op_membarrier },
	{ "oom", 1, { 100 }, op_oom },
};
const struct operations more_operations = { rows, ARRAY_SIZE(rows) };
