/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files are mapped. The kernel is asked for one after the other where it can be, for the text
 * of /proc/self/maps takes twice as long, and ten times where there are many areas.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "libinproc/wrap.h"

#define BUFFER 4096

/* Linux 6.11 */
struct query {
	uint64_t size, flags, addr;
	uint64_t start, end, area_flags, page_size, offset, ino;
	uint32_t major, minor;
	uint32_t name_size, build_id_size;
	uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)
#define QUERY_NEXT 0x10  /* ADDR or what follows */
#define QUERY_FILES 0x20 /* only files */

static void found(struct ckpt_scan *s, uint64_t dev, uint64_t ino, bool named)
{
	if (ino == s->ino && (dev == s->dev || named)) {
		s->mapped = true;
		s->mapped_dev = dev;
	}
	s->each(s, dev, ino);
}

/* ---- one by one ---- */

/* On btrfs and overlays stat(2) has another device than the area: the name has to tell. */
static bool is_named(int fd, struct query *q, const char *base)
{
	char name[BUFFER];
	const char *last;

	q->name = (uintptr_t)name;
	q->name_size = sizeof(name);
	if (ckpt_sys(SYS_ioctl, fd, QUERY, q) < 0 || !q->name_size)
		return false;
	last = strrchr(name, '/');
	return last && !strcmp(last + 1, base);
}

/* False: the kernel cannot, or there is something that it cannot say. */
static bool ask(struct ckpt_scan *s, int fd)
{
	uint64_t at = 0;

	for (;;) {
		struct query q = { .size = sizeof(q),
				   .flags = QUERY_NEXT | QUERY_FILES,
				   .addr = at };
		int64_t r = ckpt_sys(SYS_ioctl, fd, QUERY, &q);
		uint64_t dev = makedev(q.major, q.minor);

		if (r < 0)
			return at && r == -ENOENT;
		at = q.addr = q.end;
		if (q.ino == s->ino && dev != s->dev) {
			q.addr = q.start;
			found(s, dev, s->ino, is_named(fd, &q, s->base));
		} else if (q.ino) {
			found(s, dev, q.ino, false);
		}
	}
}

/* ---- as text ---- */

struct line {
	int field;
	bool blank; /* the last character was one */
	uint64_t major, minor, ino;
	size_t at; /* as much of the name is equal; SIZE_MAX: it differs */
};

static void end_line(struct ckpt_scan *s, struct line *l)
{
	if (l->ino)
		found(s, makedev(l->major, l->minor), l->ino, l->at != SIZE_MAX && !s->base[l->at]);
	*l = (struct line){ 0 };
}

static uint64_t hex(uint64_t n, char c)
{
	return n << 4 | (c <= '9' ? c - '0' : c - 'a' + 10);
}

/* "start-end perms offset major:minor inode   path" */
static void take(struct ckpt_scan *s, struct line *l, char c)
{
	if (c == '\n') {
		end_line(s, l);
		return;
	}
	if (l->field < 5 && c == ' ') {
		l->blank = true;
		return;
	}
	l->field += l->blank;
	l->blank = false;
	switch (l->field) {
	case 3:
		if (c == ':') {
			l->major = l->minor;
			l->minor = 0;
		} else {
			l->minor = hex(l->minor, c);
		}
		break;
	case 4:
		l->ino = l->ino * 10 + c - '0';
		break;
	case 5:
		if (c == '/')
			l->at = 0;
		else if (l->at != SIZE_MAX)
			l->at = s->base[l->at] == c ? l->at + 1 : SIZE_MAX;
		break;
	}
}

static bool read_text(struct ckpt_scan *s, int fd)
{
	struct line line = { 0 };
	char buf[BUFFER];
	int64_t n;

	while ((n = ckpt_sys(SYS_read, fd, buf, sizeof(buf))) > 0) {
		for (int64_t i = 0; i < n; i++)
			take(s, &line, buf[i]);
	}
	return n == 0;
}

struct reading {
	struct ckpt_scan *s;
	pid_t tid;
	bool good;
};

static void read_maps(void *arg)
{
	struct reading *r = arg;
	/* Of the thread: the process has none if its main thread has ended. */
	int fd = ckpt_open_task(r->tid, "maps");

	if (fd < 0)
		return;
	r->good = ask(r->s, fd) || read_text(r->s, fd);
	ckpt_sys(SYS_close, fd);
}

bool ckpt_scan_maps(struct ckpt_scan *s)
{
	struct reading r = { s, ckpt_sys(SYS_gettid), false };

	if (!ckpt_apart(read_maps, &r))
		read_maps(&r);
	return r.good;
}
