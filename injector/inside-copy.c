/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of processes, made by themselves, so that they need not wait until their memory is
 * written. A fork does not take over everything: what it clears or leaves out is found before the
 * stop and told to the process, which keeps it for that moment; where a copy would not be the whole
 * truth (locked memory, shared memory, deleted files) there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/maps.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"

#define KEPT_MAX (CKPT_WIRE_DATA / sizeof(struct ckpt_wire_kept))
#define READY_MS 5000

static int open_own(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_maps(struct ckpt_inside *in, pid_t pid, struct ckpt_map **mapp, size_t *np)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	CKPT_FD fd = open_own(pid, "smaps");

	return fd < 0 ? -errno : ckpt_maps_read(in->arena, fd, mapp, np, &ignored);
}

static int advice_of(const struct ckpt_map *map)
{
	return map->flags & CKPT_MAP(DC) ? MADV_DONTFORK :
	       map->flags & CKPT_MAP(WF) ? MADV_WIPEONFORK :
					   -1;
}

void ckpt_inside_copy_ahead(struct ckpt_inside *in, struct ckpt_member *m)
{
	struct ckpt_map *map;
	size_t n;

	m->n_kept = 0;
	if (read_maps(in, m->acts, &map, &n) < 0)
		return;
	m->kept = ckpt_alloc(in->arena, KEPT_MAX * sizeof(*m->kept));
	for (size_t i = 0; i < n && m->n_kept < KEPT_MAX; i++) {
		int advice = advice_of(&map[i]);

		/* Memory of devices is never forked. */
		if (advice >= 0 && !(map[i].flags & (CKPT_MAP(IO) | CKPT_MAP(PF))))
			m->kept[m->n_kept++] = (struct ckpt_wire_kept){ map[i].start,
									map[i].end - map[i].start,
									advice, 0 };
	}
}

/* A line of maps: memory that others change as well, or a file that only this mapping still has. */
static bool must_wait(const char *line)
{
	char prot[5] = "";
	const char *name = strchr(line, '/');

	if (sscanf(line, "%*s %4s", prot) != 1)
		return true;
	if (strstr(line, " (deleted)"))
		return true;
	return prot[3] == 's' && prot[1] == 'w' && !name;
}

/* The text of maps without what differs between a process and its copy: nothing does. */
static int read_text(pid_t pid, char **textp, size_t *lenp)
{
	char path[32];
	size_t room = 0, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	*textp = NULL;
	*lenp = 0;
	do {
		char *more = realloc(*textp, room += 65536);

		if (!more) {
			fclose(f);
			return -ENOMEM;
		}
		*textp = more;
		n = fread(*textp + *lenp, 1, room - *lenp - 1, f);
		*lenp += n;
	} while (n);
	(*textp)[*lenp] = '\0';
	fclose(f);
	return 0;
}

static bool is_plain(const char *text)
{
	for (const char *line = text; *line;) {
		const char *end = strchr(line, '\n');
		CKPT_FREE char *one = strndup(line, end ? (size_t)(end - line) : strlen(line));

		if (!one || must_wait(one))
			return false;
		line = end ? end + 1 : line + strlen(line);
	}
	return true;
}

static bool has_locked(pid_t pid)
{
	char status[8192];

	return ckpt_proc_read(pid, "status", status, sizeof(status)) <= 0 ||
	       ckpt_status_number(status, "VmLck", 10) != 0;
}

static int make_copy(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_FORK,
					 .buf_arg = -1,
					 .len = m->n_kept * sizeof(*m->kept) };
	struct pollfd p = { -1, POLLIN, 0 };
	int64_t r = ckpt_inside_ask(in, m, &req, m->kept, &m->copy_sock, err);
	char byte;

	if (r <= 0 || m->copy_sock < 0)
		return r == -ECONNRESET ? -ECONNRESET : 0;
	m->copy = r;
	p.fd = m->copy_sock;
	if (poll(&p, 1, READY_MS) <= 0 || read(m->copy_sock, &byte, 1) != 1)
		return 0;
	m->copy_mem = open_own(m->copy, "mem");
	return m->copy_mem >= 0;
}

/* 1: the copy has the same areas. */
static int copy_one(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	CKPT_FREE char *before = NULL, *after = NULL;
	size_t before_len, after_len;
	int r;

	if (has_locked(m->acts) || read_text(m->acts, &before, &before_len) < 0 ||
	    !is_plain(before))
		return 0;
	r = make_copy(in, m, err);
	if (r <= 0)
		return r;
	return read_text(m->copy, &after, &after_len) >= 0 && before_len == after_len &&
	       !memcmp(before, after, before_len);
}

int ckpt_inside_copy(struct ckpt_inside *in, struct ckpt_err *err)
{
	int r = 1;

	for (struct ckpt_member *m = in->members; r > 0 && m; m = m->next)
		if (m->state == CKPT_MEMBER_PARKED)
			r = copy_one(in, m, err);
	for (struct ckpt_member *m = in->members; r <= 0 && m; m = m->next)
		ckpt_inside_copy_end(m);
	return r;
}

static bool was_told(const struct ckpt_member *m, const struct ckpt_map *map)
{
	for (uint64_t at = map->start; at < map->end;) {
		size_t i = 0;

		while (i < m->n_kept && at - m->kept[i].start >= m->kept[i].len)
			i++;
		if (i == m->n_kept)
			return false;
		at = m->kept[i].start + m->kept[i].len;
	}
	return true;
}

int ckpt_inside_copy_check(struct ckpt_inside *in, struct ckpt_err *err)
{
	for (const struct ckpt_member *m = in->members; m; m = m->next) {
		struct ckpt_map *map;
		size_t n;

		if (!m->copy)
			continue;
		if (read_maps(in, m->copy, &map, &n) < 0)
			return ckpt_fail(err, -ESTALE, "process %d: its copy has ended", m->pid);
		for (size_t i = 0; i < n; i++)
			if (map[i].flags & CKPT_MAP(WF) && !was_told(m, &map[i]))
				return ckpt_fail(err, -ESTALE,
						 "process %d: memory was cleared in its copy",
						 m->pid);
	}
	return 1;
}

void ckpt_inside_copy_end(struct ckpt_member *m)
{
	ckpt_close_fd(&m->copy_sock);
	ckpt_close_fd(&m->copy_mem);
	m->copy_sock = m->copy_mem = -1;
	m->copy = 0;
}
