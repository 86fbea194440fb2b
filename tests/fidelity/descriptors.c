/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each open file tells that is asked through a duplicate: fcntl(2), ioctl(2), fstat(2), what
 * poll(2) says of it, what waits in it. Only questions: a duplicate is the target's file. A row for
 * each.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <asm/termbits.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

#define CONTENT_MOST (16ul << 20)

struct open_file {
	struct oracle *o;
	int fd, number;
	pid_t name;
	struct stat st;
	const char *link;
};

static void tell(const struct open_file *f, const char *what, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	oracle_add(f->o, text, "%d/open/%d/%s", f->name, f->number, what);
}

static const struct {
	const char *name;
	int cmd;
} numbers[] = {
	{ "getfl", F_GETFL },          { "getsig", F_GETSIG },   { "getlease", F_GETLEASE },
	{ "pipe_size", F_GETPIPE_SZ }, { "seals", F_GET_SEALS },
};

static void ask_owner(const struct open_file *f)
{
	struct f_owner_ex owner = { 0 };

	if (fcntl(f->fd, F_GETOWN_EX, &owner) < 0 || !owner.pid)
		return;
	tell(f, "owner_type", owner.type);
	tell(f, "owner", test_inner_pid(owner.pid));
}

static void ask_hints(const struct open_file *f)
{
	uint64_t hint;
	uint32_t uids[2];

	if (fcntl(f->fd, F_GET_RW_HINT, &hint) == 0)
		tell(f, "hint", hint);
	if (fcntl(f->fd, F_GET_FILE_RW_HINT, &hint) == 0)
		tell(f, "file_hint", hint);
	if (fcntl(f->fd, 17 /* F_GETOWNER_UIDS */, uids) == 0)
		oracle_add_bytes(f->o, uids, sizeof(uids), "%d/open/%d/owner_uids", f->name,
				 f->number);
}

/* Locks as others find them. All of them stand in fdinfo. */
static void ask_locks(const struct open_file *f)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(f->fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		if (lock.l_pid > 0)
			lock.l_pid = test_inner_pid(lock.l_pid);
		oracle_add_bytes(f->o, &lock, sizeof(lock), "%d/open/%d/lock", f->name, f->number);
	}
	lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(f->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		if (lock.l_pid > 0)
			lock.l_pid = test_inner_pid(lock.l_pid);
		oracle_add_bytes(f->o, &lock, sizeof(lock), "%d/open/%d/ofd_lock", f->name,
				 f->number);
	}
}

/* EPIOCGPARAMS: Linux 6.9, NS_GET_OWNER_UID: 4.11. */
#define EPIOCGPARAMS_ _IOR(0x8A, 0x02, uint64_t)

static const struct question {
	const char *name;
	unsigned long request;
	size_t len;
	bool pid; /* the answer is one */
} questions[] = {
	{ "fionread", FIONREAD, 4 },
	{ "outq", TIOCOUTQ, 4 },
	{ "nsetype", NS_GET_NSTYPE, 0 },
	{ "ns_uid", NS_GET_OWNER_UID, 4 },
	{ "epoll_params", EPIOCGPARAMS_, 8 },
	{ "fs_flags", FS_IOC_GETFLAGS, 4 },
	{ "fs_xflags", FS_IOC_FSGETXATTR, sizeof(struct fsxattr) },
	{ "atmark", 0x8905 /* SIOCATMARK */, 4 },
}, tty_questions[] = {
	{ "tcgets2", TCGETS2, sizeof(struct termios2) },
	{ "glcktrmios", TIOCGLCKTRMIOS, sizeof(struct termios) },
	{ "winsz", TIOCGWINSZ, 8 },
	{ "pgrp", TIOCGPGRP, 4, true },
	{ "sid", TIOCGSID, 4, true },
	{ "discipline", TIOCGETD, 4 },
	{ "packet", TIOCGPKT, 4 },
	{ "exclusive", TIOCGEXCL, 4 },
	{ "lock", TIOCGPTLCK, 4 },
	{ "softcar", TIOCGSOFTCAR, 4 },
	{ "modem", TIOCMGET, 4 },
};

static void ask(const struct open_file *f, const struct question *q, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char answer[128] = { 0 };
		int r = ioctl(f->fd, q[i].request, answer);
		pid_t pid;

		if (r < 0)
			continue;
		if (q[i].pid) {
			memcpy(&pid, answer, sizeof(pid));
			pid = pid > 0 ? test_inner_pid(pid) : pid;
			memcpy(answer, &pid, sizeof(pid));
		}
		if (!q[i].len)
			tell(f, q[i].name, r);
		else
			oracle_add_bytes(f->o, answer, q[i].len, "%d/open/%d/%s", f->name,
					 f->number, q[i].name);
	}
}

/* What has a name stays where it is; other things are made anew. */
static const char *sort_of(const struct open_file *f)
{
	static const struct {
		long magic;
		const char *name;
	} kernels[] = {
		{ PROC_SUPER_MAGIC, "proc" },     { NSFS_MAGIC, "nsfs" },
		{ DEVPTS_SUPER_MAGIC, "devpts" }, { 0x19800202, "mqueue" },
		{ 0x50494446, "pidfs" }, /* Linux 6.9 */
	};
	mode_t type = f->st.st_mode & S_IFMT;
	struct statfs fs;

	for (size_t i = 0; fstatfs(f->fd, &fs) == 0 && i < ARRAY_SIZE(kernels); i++)
		if (fs.f_type == kernels[i].magic)
			return kernels[i].name;
	if (S_ISFIFO(type) || S_ISSOCK(type) || !strncmp(f->link, "/memfd:", 7))
		return "made";
	return type && f->st.st_nlink ? "named" : type ? "gone" : "anonymous";
}

static void ask_stat(struct open_file *f)
{
	const struct stat *st = &f->st;
	const struct {
		const char *name;
		long value;
	} v[] = {
		{ "mode", st->st_mode },
		{ "uid", st->st_uid },
		{ "gid", st->st_gid },
		{ "links", st->st_nlink },
		{ "rdev", st->st_rdev },
		{ "size", st->st_size },
		{ "block_size", st->st_blksize },
		{ "blocks", st->st_blocks },
		{ "device", st->st_dev },
		{ "inode", st->st_ino },
		{ "mtime", st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec },
		{ "atime", st->st_atim.tv_sec * 1000000000 + st->st_atim.tv_nsec },
		{ "ctime", st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec },
	};
	char what[32];

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		snprintf(what, sizeof(what), "stat %s/%s", sort_of(f), v[i].name);
		tell(f, what, v[i].value);
	}
}

/* A timer's moment comes when it comes; to ask some drivers is to act. */
static bool may_poll(const struct open_file *f)
{
	return strcmp(f->link, "anon_inode:[timerfd]") && !S_ISBLK(f->st.st_mode) &&
	       (!S_ISCHR(f->st.st_mode) || isatty(f->fd));
}

static void ask_poll(const struct open_file *f)
{
	struct pollfd p = { f->fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDBAND | POLLWRBAND,
			    0 };

	if (may_poll(f) && poll(&p, 1, 0) >= 0)
		tell(f, "poll", p.revents);
}

/* What waits in a pipe, copied without taking it out. */
static void ask_pipe(const struct open_file *f)
{
	int copy[2], size = fcntl(f->fd, F_GETPIPE_SZ);
	ssize_t n;
	char *text;

	if (!S_ISFIFO(f->st.st_mode) || size <= 0 || pipe2(copy, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	fcntl(copy[1], F_SETPIPE_SZ, size);
	n = tee(f->fd, copy[1], INT_MAX, SPLICE_F_NONBLOCK);
	text = n > 0 ? malloc(n) : NULL;
	if (text && read(copy[0], text, n) == n)
		oracle_add_bytes(f->o, text, n, "%d/open/%d/waiting", f->name, f->number);
	free(text);
	close(copy[0]);
	close(copy[1]);
}

/* Of files that have no name any more, or never had one: others stay where they are. */
static void ask_content(const struct open_file *f)
{
	size_t size = f->st.st_size;
	char *text;
	ssize_t n;

	if (!S_ISREG(f->st.st_mode) || f->st.st_nlink || !size || size > CONTENT_MOST)
		return;
	text = malloc(size);
	n = text ? pread(f->fd, text, size, 0) : -1;
	if (n > 0)
		oracle_add_bytes(f->o, text, n, "%d/open/%d/content", f->name, f->number);
	free(text);
}

static void look_at(struct open_file *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		int r = fcntl(f->fd, numbers[i].cmd);

		if (r >= 0)
			tell(f, numbers[i].name, r);
	}
	if (fstat(f->fd, &f->st) < 0 || fcntl(f->fd, F_GETFL) & O_PATH)
		return;
	ask_stat(f);
	ask_owner(f);
	ask_hints(f);
	ask_locks(f);
	ask(f, questions, ARRAY_SIZE(questions));
	if (S_ISCHR(f->st.st_mode))
		ask(f, tty_questions, ARRAY_SIZE(tty_questions));
	ask_poll(f);
	ask_pipe(f);
	ask_content(f);
	if (S_ISSOCK(f->st.st_mode))
		oracle_add_options(f->o, f->fd, f->name, f->number);
}

void oracle_add_descriptors(struct oracle *o, pid_t pid, pid_t name)
{
	char path[64], link[PATH_MAX + 1];
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && pidfd >= 0 && (e = readdir(dir))) {
		struct open_file f = { .o = o, .name = name, .number = atoi(e->d_name) };
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, PATH_MAX);

		if (!isdigit((unsigned char)e->d_name[0]) || n < 0)
			continue;
		link[n] = 0;
		f.link = link;
		f.fd = syscall(SYS_pidfd_getfd, pidfd, f.number, 0);
		if (f.fd < 0)
			continue;
		look_at(&f);
		close(f.fd);
	}
	if (dir)
		closedir(dir);
	if (pidfd >= 0)
		close(pidfd);
}
