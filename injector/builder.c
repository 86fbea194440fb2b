/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes every shared object once, in the plan's order, before any task exists: the restorer's
 * region, shared memory, open files. Tasks inherit all of it by fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/host.h"
#include "injector/job.h"
#include "blob.h"

/* O_ASYNC is set by the task that has the number: engine/kinds/file_owners.c. */
#define FLAGS_SET (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

static int map_at(uint64_t at, uint64_t len, int flags, struct ckpt_err *err)
{
	void *p = mmap((void *)(uintptr_t)at, len, PROT_READ | PROT_WRITE,
		       flags | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != MAP_FAILED && (uintptr_t)p != at) /* a kernel before 4.17 */
		p = MAP_FAILED, errno = EEXIST;
	return p == MAP_FAILED ? ckpt_fail(err, -errno, "cannot map %llu bytes for the restorer",
					   (unsigned long long)len) :
				 0;
}

static int map_region(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_layout *l = job->plan->layout;
	int r = map_at(l->gates, l->gates_len, MAP_SHARED, err);

	if (r < 0)
		return r;
	job->gates = (void *)(uintptr_t)l->gates;
	r = map_at(l->blob, CKPT_PAGE, MAP_PRIVATE, err);
	if (r < 0)
		return r;
	memcpy((void *)(uintptr_t)l->blob, ckpt_blob, sizeof(ckpt_blob));
	for (size_t i = 0; i + 1 < sizeof(ckpt_blob); i++)
		if (ckpt_blob[i] == 0x0f && ckpt_blob[i + 1] == 0x05)
			job->blob_syscall = l->blob + i;
	if (mprotect((void *)(uintptr_t)l->blob, CKPT_PAGE, PROT_READ | PROT_EXEC) < 0)
		return ckpt_fail(err, -errno, "cannot make the restorer executable");
	return 0;
}

/* One that the program may only read is mapped for writing first if it has to be filled. */
static int map_object(struct ckpt_job *job, const struct ckpt_object *obj, uint64_t at,
		      struct ckpt_err *err)
{
	bool writable = (obj->file.flags & O_ACCMODE) != O_RDONLY;
	int r = obj->kind->map(&job->site, obj, at, writable || obj->has_content, err);

	if (r >= 0)
		r = ckpt_read_runs(job, obj->content, 0, at, err);
	if (r >= 0 && !writable && obj->has_content)
		r = obj->kind->map(&job->site, obj, at, false, err);
	return r;
}

static int map_shared_memory(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_layout *l = job->plan->layout;

	for (size_t i = 0; i < l->n_stages; i++) {
		const struct ckpt_stage *s = &l->stages[i];
		int r;

		if (!s->object)
			continue;
		r = map_object(job, job->plan->snap->objects[s->object - 1], s->at, err);
		if (r < 0)
			return ckpt_in(err, r, "shared memory %u", s->object);
	}
	return 0;
}

static int to_bank(struct ckpt_job *job, uint32_t object, int fd, struct ckpt_err *err)
{
	const struct ckpt_object *obj = job->plan->snap->objects[object - 1];
	int flags = fcntl(fd, F_GETFL), want = (flags & ~FLAGS_SET) | (obj->file.flags & FLAGS_SET);

	if (!(obj->file.flags & O_PATH)) {
		if (flags != want && fcntl(fd, F_SETFL, want) < 0)
			return ckpt_fail(err, -errno, "%s %u: cannot set flags %#o",
					 obj->kind->name, object, want);
		if (obj->file.has_pos && obj->file.pos && lseek(fd, obj->file.pos, SEEK_SET) < 0)
			return ckpt_fail(err, -errno, "%s %u: cannot go to position %llu",
					 obj->kind->name, object,
					 (unsigned long long)obj->file.pos);
	}
	if (dup3(fd, job->plan->bank[object], O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot keep", obj->kind->name, object);
	job->made[object] = true;
	return 0;
}

int ckpt_builder_create(struct ckpt_job *job, uint32_t object, struct ckpt_err *err)
{
	const struct ckpt_object *obj = job->plan->snap->objects[object - 1];
	CKPT_FD fd = obj->kind->create(&job->site, obj, err);

	return fd < 0 ? fd : to_bank(job, object, fd, err);
}

static int site_fd_of(struct ckpt_site *site, uint32_t object, struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;

	if (!object || object > job->plan->snap->n_objects || !job->made[object])
		return ckpt_fail(err, -EBADF, "object %u: has not been made", object);
	return job->plan->bank[object];
}

static int site_put(struct ckpt_site *site, uint32_t object, int fd_taken, struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	CKPT_FD fd = fd_taken;

	if (!object || object > job->plan->snap->n_objects || job->plan->bank[object] < 0)
		return ckpt_fail(err, -EBADF, "object %u: nothing to put there", object);
	return to_bank(job, object, fd, err);
}

static int site_keep(struct ckpt_site *site, uint32_t object, int fd_taken, struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	CKPT_FD fd = fd_taken;
	int number = job->plan->spare[object];

	if (number < 0 || dup3(fd, number, O_CLOEXEC) < 0)
		return ckpt_fail(err, number < 0 ? -EBADF : -errno,
				 "object %u: cannot keep its other end", object);
	return 0;
}

static int site_kept(struct ckpt_site *site, uint32_t object, struct ckpt_err *err)
{
	int number = ((struct ckpt_job *)site)->plan->spare[object];

	return number < 0 ? ckpt_fail(err, -EBADF, "object %u: nothing was kept", object) : number;
}

static bool site_number_used(struct ckpt_site *site, int number)
{
	for (size_t i = 0; site->task && i < site->task->n_fds; i++)
		if (site->task->fds[i].number == number)
			return true;
	return false;
}

static const struct ckpt_site_ops site_ops = {
	.fd_of = site_fd_of,
	.put = site_put,
	.keep = site_keep,
	.kept = site_kept,
	.number_used = site_number_used,
	.made_path = ckpt_undo_note,
	.on_failure = ckpt_undo_call,
	.at_commit = ckpt_undo_decide,
};

/* As much as one write takes of LEN bytes at OFFSET of the pages, for TO in the file. */
static ssize_t fill_some(struct ckpt_job *job, const struct ckpt_object *obj, char *buf, size_t len,
			 uint64_t offset, uint64_t to, struct ckpt_err *err)
{
	ssize_t n = ckpt_read_pages(job, buf, len, offset), got;
	size_t put;

	if (n <= 0)
		return ckpt_fail(err, n ? -errno : -EIO, "%s %u: cannot read content",
				 obj->kind->name, obj->id);
	put = to + n > obj->content_size ? obj->content_size - to : (size_t)n;
	got = pwrite(job->plan->bank[obj->id], buf, put, to);
	if (got < 0)
		return ckpt_fail(err, -errno, "%s %s: cannot write its content", obj->kind->name,
				 obj->file.link ? obj->file.link : "");
	return (size_t)got == put ? n : got;
}

/* Contents kept as pages: files without a name, memfds. What is mapped only was done above. */
static int fill(struct ckpt_job *job, const struct ckpt_object *obj, struct ckpt_err *err)
{
	size_t room = 1u << 20;
	char *buf = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = job->plan->bank[obj->id], flags = fcntl(fd, F_GETFL), r = 0;

	if (buf == MAP_FAILED)
		return ckpt_fail(err, -errno, "%s %u: no memory", obj->kind->name, obj->id);
	/* With O_APPEND the kernel writes at the end, whatever the offset; O_DIRECT wants sizes
	 * that content has not. */
	if (flags & (O_APPEND | O_DIRECT))
		fcntl(fd, F_SETFL, flags & ~(O_APPEND | O_DIRECT));
	for (size_t i = 0; i < obj->content.n && r >= 0; i++) {
		const struct ckpt_run *c = &obj->content.run[i];
		uint64_t len = c->n_pages * CKPT_PAGE;

		for (uint64_t at = 0; at < len && r >= 0; at += r < 0 ? 0 : r)
			r = fill_some(job, obj, buf, len - at < room ? len - at : room,
				      c->offset + at, c->at + at, err);
	}
	if (flags & (O_APPEND | O_DIRECT))
		fcntl(fd, F_SETFL, flags);
	munmap(buf, room);
	return r < 0 ? r : 0;
}

/* Huge pages are not written to but mapped; what was a hole takes none. */
static int fill_huge(struct ckpt_job *job, const struct ckpt_object *obj, uint64_t page,
		     struct ckpt_err *err)
{
	size_t len = (obj->content_size + page - 1) & ~(page - 1);
	int fd = job->plan->bank[obj->id], r;
	void *p;

	for (size_t i = 0; i < obj->content.n; i++) {
		const struct ckpt_run *run = &obj->content.run[i];

		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, run->at, run->n_pages * CKPT_PAGE) < 0)
			return ckpt_fail(err, -errno, "%s %u: no huge pages for it",
					 obj->kind->name, obj->id);
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return ckpt_fail(err, -errno, "%s %u: cannot map %zu bytes of huge pages",
				 obj->kind->name, obj->id, len);
	r = ckpt_read_runs(job, obj->content, 0, (uintptr_t)p, err);
	munmap(p, len);
	return r;
}

static int fill_any(struct ckpt_job *job, const struct ckpt_object *obj, struct ckpt_err *err)
{
	struct statfs fs;

	if (fstatfs(job->plan->bank[obj->id], &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return obj->content.n ? fill_huge(job, obj, fs.f_bsize, err) : 0;
	return fill(job, obj, err);
}

static int fill_all(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *obj = snap->objects[i];
		int r;

		if (!obj->has_content || !obj->kind->create || !job->made[obj->id] ||
		    job->plan->content_unused[obj->id])
			continue;
		r = fill_any(job, obj, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run_steps(struct ckpt_job *job, enum ckpt_verb verb, struct ckpt_err *err)
{
	for (uint32_t i = 0; i < job->n_steps[0]; i++) {
		const struct ckpt_step *s = &job->plan->steps[job->steps[0][i]];
		const struct ckpt_object *obj;
		int r = 0;

		if (s->verb != verb)
			continue;
		obj = job->plan->snap->objects[s->object - 1];
		if (verb == CKPT_CREATE)
			r = ckpt_builder_create(job, s->object, err);
		else if (job->made[s->object])
			r = obj->kind->link(&job->site, obj, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare(struct ckpt_job *job, struct ckpt_err *err)
{
	static const int needed[] = { RLIMIT_NOFILE, RLIMIT_MEMLOCK };
	const struct ckpt_snapshot *snap = job->plan->snap;
	struct rlimit64 lim;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (prlimit64(0, needed[i], NULL, &lim) < 0)
			continue;
		lim.rlim_cur = lim.rlim_max;
		prlimit64(0, needed[i], &lim, NULL);
	}
	job->site.ops = &site_ops;
	job->site.snap = job->plan->snap;
	job->site.shell_job = job->plan->opts->shell_job;
	job->site.content_unused = job->plan->content_unused;
	job->site.opts = job->plan->opts;
	job->made = ckpt_alloc(job->arena, job->plan->snap->n_objects + 1);
	for (size_t i = 0; i < job->plan->n_pages; i++)
		if (snap->parts[i].fd >= 0 &&
		    dup3(snap->parts[i].fd, job->plan->pages[i].fd, O_CLOEXEC) < 0)
			return ckpt_fail(err, -errno, "pages: cannot keep open");
	return 0;
}

int ckpt_builder_run(struct ckpt_job *job, struct ckpt_err *err)
{
	int r = prepare(job, err);

	if (r >= 0)
		r = map_region(job, err);
	if (r >= 0)
		r = map_shared_memory(job, err);
	if (r >= 0)
		r = run_steps(job, CKPT_CREATE, err);
	if (r >= 0)
		r = fill_all(job, err);
	if (r >= 0)
		r = run_steps(job, CKPT_LINK, err);
	return r;
}

void ckpt_builder_let_go(struct ckpt_job *job)
{
	const struct ckpt_layout *l = job->plan->layout;

	for (size_t id = 1; id <= job->plan->snap->n_objects; id++) {
		if (job->made[id])
			close(job->plan->bank[id]);
		if (job->made[id] && job->plan->spare[id] >= 0)
			close(job->plan->spare[id]);
	}
	for (size_t i = 0; i < l->n_stages; i++)
		if (l->stages[i].object)
			munmap((void *)(uintptr_t)l->stages[i].at, l->stages[i].len);
}
