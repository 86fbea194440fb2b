/* SPDX-License-Identifier: Apache-2.0 */
/* Lists the descriptors of a task and reads what /proc shows of each. With many of them two threads
 * share the work. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/fds-ahead.h"
#include "engine/capture/path.h"
#include "engine/capture/state.h"

#define BATCH 64       /* as many are worth waking the other thread for */
#define TEXT_KEPT 1024 /* bytes of fdinfo */

struct entry { /* of getdents64(2) */
	uint64_t ino;
	int64_t next;
	uint16_t len;
	uint8_t type;
	char name[];
};

struct ckpt_look_job {
	struct ckpt_job job;
	int fd_dir;
	const struct ckpt_fds_ahead *ahead; /* of this task; else NULL */
	struct ckpt_look *look;
	size_t n;
};

static int failed(struct ckpt_look *look, int code, const char *what)
{
	look->what = what;
	return look->code = code;
}

static ssize_t open_and_read(int fd_dir, const char *name, char *text, size_t size,
			     struct ckpt_look *look)
{
	ssize_t n;

	CKPT_FD fd = ckpt_fdinfo_open(fd_dir, name);
	if (fd < 0)
		return failed(look, -errno, "fdinfo: cannot open");
	n = read(fd, text, size);
	return n < 0 ? failed(look, -errno, "fdinfo: cannot read") : n;
}

/* What is wanted stands in front of what the kind of file adds, which may be long. */
static ssize_t read_info(int fd_dir, const struct ckpt_fd_ahead *ahead, const char *name,
			 char *text, size_t size, struct ckpt_look *look)
{
	struct ckpt_err err;
	ssize_t n = ahead ? pread(ahead->info, text, size - 1, 0) : 0;

	if (n <= 0) /* a process may have taken the number of another */
		n = open_and_read(fd_dir, name, text, size - 1, look);
	if (n < 0)
		return n;
	text[n] = '\0';
	if (ckpt_fdinfo_parse(text, &look->info, &err) < 0)
		return failed(look, -EBADMSG, "fdinfo: cannot be understood");
	return n;
}

/* The path that it had leads somewhere: whether to this file is seen when that is known. Others
 * have no path, and their number in the link. */
static bool may_hold(struct ckpt_look *look, const char *link)
{
	if (link[0] != '/')
		return !strncmp(link, "socket:[", 8) || !strncmp(link, "pipe:[", 6);
	/* The kernel calls an open file of /proc/PID/net deleted when somebody looks for its path.
	 */
	look->leads = strncmp(link, "/proc/", 6) && lstat(link, &look->there) == 0;
	return look->leads;
}

static int read_link(const struct ckpt_look_job *job, const struct ckpt_fd_ahead *ahead,
		     const char *name, struct ckpt_look *look, struct ckpt_arena *arena)
{
	char link[PATH_MAX + 16]; /* " (deleted)" comes on top of a path */
	ssize_t len;

	look->link_ahead = ahead && may_hold(look, ahead->link);
	if (look->link_ahead) {
		look->link = ahead->link;
		return 0;
	}
	len = readlinkat(job->fd_dir, name, link, sizeof(link) - 1);
	if (len < 0 && errno == ENAMETOOLONG) /* files.c finds it out */
		return 0;
	if (len < 0)
		return failed(look, -errno, "link: cannot read");
	link[len] = '\0';
	look->link = ckpt_strdup(arena, link);
	may_hold(look, link);
	return 0;
}

static void look_at(const struct ckpt_look_job *job, struct ckpt_look *look,
		    struct ckpt_arena *arena)
{
	const struct ckpt_fd_ahead *ahead = ckpt_fds_ahead_find(job->ahead, look->number);
	char name[16], text[4096];
	ssize_t n;

	snprintf(name, sizeof(name), "%d", look->number);
	n = read_info(job->fd_dir, ahead, name, text, sizeof(text), look);
	if (n < 0 || read_link(job, ahead, name, look, arena) < 0)
		return;
	if (n < TEXT_KEPT && look->link && !strncmp(look->link, "anon_inode:", 11))
		look->text = ckpt_strdup(arena, text);
}

bool ckpt_look_holds(const struct ckpt_look *look, const struct stat *st)
{
	char link[40];

	if (!look->link_ahead)
		return true;
	if (look->leads)
		return ckpt_same_file(&look->there, st);
	snprintf(link, sizeof(link), S_ISSOCK(st->st_mode) ? "socket:[%lu]" : "pipe:[%lu]",
		 (unsigned long)st->st_ino);
	return !strcmp(look->link, link);
}

static void run(struct ckpt_job *base, struct ckpt_arena *arena)
{
	struct ckpt_look_job *job = (struct ckpt_look_job *)base;

	for (size_t i = 0; i < job->n; i++)
		look_at(job, &job->look[i], arena);
}

/* The first of those that have the descriptors of task I in common. */
static size_t first_with(const struct ckpt_capture *c, size_t i)
{
	while (c->tasks[i].task->shares & CLONE_FILES)
		i = c->tasks[i].task->parent - 1;
	return i;
}

/* A descriptor of the source, which has one in each task: all in one table, where they share it. */
static bool is_own(const struct ckpt_fd_batch *b, uint64_t number)
{
	const struct ckpt_capture *c = b->c;
	size_t mine = 0;

	if (number && number == (uint64_t)b->task->own_fd)
		return true;
	while (c->tasks[mine].frozen != b->task)
		mine++;
	for (size_t i = 0; number && i < c->n_tasks; i++)
		if (number == (uint64_t)c->tasks[i].frozen->own_fd &&
		    first_with(c, i) == first_with(c, mine))
			return true;
	return false;
}

static void add_entries(struct ckpt_fd_batch *b, const char *buf, long len, size_t *roomp)
{
	for (long at = 0; at < len;) {
		const struct entry *e = (const void *)(buf + at);
		const char *p = e->name;
		uint64_t number;

		at += e->len;
		if (!ckpt_parse_u64(&p, 10, &number) || number > INT_MAX)
			continue; /* "." and ".." */
		if (is_own(b, number))
			continue;
		b->look = ckpt_capture_grow(b->c->arena, b->look, b->n, roomp, sizeof(b->look[0]));
		b->look[b->n++] = (struct ckpt_look){ .number = number };
	}
}

static int list(struct ckpt_fd_batch *b, struct ckpt_err *err)
{
	char buf[32768] __attribute__((aligned(8)));
	size_t room = 0;

	for (;;) {
		long n = syscall(SYS_getdents64, b->fd_dir, buf, sizeof(buf));

		if (n < 0)
			return ckpt_fail(err, -errno, "process: cannot list descriptors");
		if (!n)
			return 0;
		add_entries(b, buf, n, &room);
	}
}

static void make_jobs(struct ckpt_fd_batch *b)
{
	const struct ckpt_fds_ahead *ahead = ckpt_helper_fds(b->c->helper, b->task->pid);

	if (ahead)
		ckpt_logf(b->c->opts->log, 4, "process %d: %zu descriptors were looked up ahead",
			  b->task->pid, ahead->n);
	b->n_jobs = (b->n + BATCH - 1) / BATCH;
	b->job = ckpt_alloc(b->c->arena, b->n_jobs * sizeof(b->job[0]));
	for (size_t i = 0; i < b->n_jobs; i++) {
		struct ckpt_look_job *job = &b->job[i];

		job->job.run = run;
		job->fd_dir = b->fd_dir;
		job->ahead = ahead;
		job->look = b->look + i * BATCH;
		job->n = b->n - i * BATCH < BATCH ? b->n - i * BATCH : BATCH;
		if (b->n_jobs > 1)
			ckpt_helper_start(b->c->helper, &job->job);
	}
}

int ckpt_fd_batch_open(struct ckpt_fd_batch *b, struct ckpt_capture *c,
		       const struct ckpt_frozen *task, struct ckpt_err *err)
{
	int r;

	*b = (struct ckpt_fd_batch){ .c = c, .task = task, .fd_dir = -1 };
	b->fd_dir = c->src->ops->open_proc(c->src, task->pid, "fd", err);
	if (b->fd_dir < 0)
		return b->fd_dir;
	r = list(b, err);
	if (r >= 0)
		make_jobs(b);
	return r;
}

size_t ckpt_fd_batch_next(struct ckpt_fd_batch *b, const struct ckpt_look **lookp)
{
	struct ckpt_look_job *job;

	if (b->next == b->n_jobs)
		return 0;
	job = &b->job[b->next++];
	if (b->n_jobs > 1)
		ckpt_helper_wait(b->c->helper, &job->job);
	else
		run(&job->job, b->c->arena);
	*lookp = job->look;
	return job->n;
}

/* Nobody may still use the folder. */
void ckpt_fd_batch_close(struct ckpt_fd_batch *b)
{
	for (; b->n_jobs > 1 && b->next < b->n_jobs; b->next++)
		ckpt_helper_wait(b->c->helper, &b->job[b->next].job);
	ckpt_close_fd(&b->fd_dir);
}
