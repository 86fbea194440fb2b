/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build-id of what is mapped: out of the file; from the kernel where that may not be read any
 * more. Not the other way round: the kernel takes 15 us for an answer, reading 2 us.
 */
#include <unistd.h>
#include "engine/base/build-id.h"
#include "engine/base/cleanup.h"
#include "engine/capture/map-query.h"
#include "engine/capture/state.h"

/* The maps of the process that was asked last stay open: most of its files come in a row. */
static int maps_of(struct ckpt_capture *cap, pid_t pid)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;

	if (cap->query.pid == pid)
		return cap->query.fd;
	ckpt_capture_query_end(cap);
	cap->query.fd = cap->src->ops->open_proc(cap->src, pid, "maps", &ignored);
	cap->query.pid = pid;
	return cap->query.fd;
}

void ckpt_capture_query_end(struct ckpt_capture *cap)
{
	if (cap->query.pid)
		ckpt_close_fd(&cap->query.fd);
	cap->query.pid = 0;
}

static size_t ask_kernel(struct ckpt_collect *c, uint8_t id[CKPT_BUILD_ID_MAX])
{
	struct ckpt_capture *cap = c->capture;
	const struct ckpt_capture_file *f = cap ? cap->files[c->object - 1] : NULL;
	struct ckpt_procmap_query query = { .size = sizeof(query),
					    .build_id_size = CKPT_BUILD_ID_MAX,
					    .build_id_addr = (uintptr_t)id };
	int fd;

	if (!f || !f->end || cap->query.none)
		return 0;
	query.query_addr = f->start;
	fd = maps_of(cap, f->pid);
	if (fd < 0 || ioctl(fd, CKPT_PROCMAP_QUERY, &query) < 0) {
		cap->query.none = true;
		return 0;
	}
	return query.inode == f->probe.st.st_ino ? query.build_id_size : 0;
}

size_t ckpt_mapped_build_id(struct ckpt_collect *c, uint8_t *id)
{
	char byte;

	return pread(c->fd, &byte, 1, 0) < 0 ? ask_kernel(c, id) : ckpt_build_id(c->fd, id);
}
