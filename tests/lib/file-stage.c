/* SPDX-License-Identifier: Apache-2.0 */
/* A capture and a builder small enough to run inside of one test process, under sanitizers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/state.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "tests/lib/file-stage.h"
#include "tests/lib/self-source.h"

#define BANK 900 /* objects are kept from here on until they are installed */
#define SET_FLAGS (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC)

static int self_compare(struct ckpt_source *src, pid_t pid1, pid_t pid2, int type, uint64_t a,
			uint64_t b)
{
	int r = syscall(SYS_kcmp, pid1, pid2, type, a, b);

	(void)src;
	return r < 0 ? -errno : r;
}

static const struct ckpt_source_ops self_ops = {
	.name = "self",
	.open_proc = self_open_proc,
	.read_link = self_read_link,
	.compare = self_compare,
};

struct stage {
	struct ckpt_site site;
	struct file_stage *story;
	struct ckpt_source src;
	struct ckpt_arena *arena;
	struct ckpt_capture *capture;
	struct ckpt_capture_task ctask;
	struct ckpt_frozen frozen;
	struct ckpt_snapshot snap;
	struct ckpt_task task, *tasks[1];
	struct ckpt_object *objects[64];
	uint8_t *content[64];
	bool made[65];
	struct ckpt_err err;
};

static bool give_up(struct stage *st, const char *what)
{
	struct file_stage *s = st->story;

	snprintf(s->problem, sizeof(s->problem), "%s: %s", what, st->err.text);
	s->number = st->err.number ? (int)st->err.number : st->err.code;
	return false;
}

static bool probe(struct stage *st, int fd, struct ckpt_probe *p)
{
	char path[40], link[4096];
	socklen_t len = sizeof(int);
	struct statfs fs;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	p->link = ckpt_strdup(st->arena, link);
	p->domain = p->type = p->protocol = -1;
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &p->domain, &len);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &p->type, &len);
	fstatfs(fd, &fs);
	p->fs_magic = fs.f_type;
	p->path_only = fcntl(fd, F_GETFL) & O_PATH;
	return fstat(fd, &p->st) == 0;
}

/* All files first, as in a capture: duplicates are one object. */
static bool add(struct stage *st, int fd)
{
	struct ckpt_object *obj = ckpt_new(st->arena, struct ckpt_object);
	struct ckpt_probe p = { 0 };
	unsigned int hits = 0;
	off_t pos;

	for (size_t i = 0; i < st->task.n_fds; i++) {
		if (self_compare(&st->src, getpid(), getpid(), KCMP_FILE, fd,
				 st->task.fds[i].number))
			continue;
		st->task.fds[st->task.n_fds++] =
			(struct ckpt_fd){ fd, false, st->task.fds[i].object };
		return true;
	}
	probe(st, fd, &p);
	for (unsigned int i = 0; i < ckpt_n_kinds; i++)
		if (ckpt_kinds[i]->scope == CKPT_PER_FILE && ckpt_kinds[i]->match(&p)) {
			obj->kind = ckpt_kinds[i];
			hits++;
		}
	if (hits != 1) {
		ckpt_refuse(&st->err, CKPT_E_FILE_KIND, -ENOTSUP, "%s: %u kinds match", p.link,
			    hits);
		return false;
	}
	pos = lseek(fd, 0, SEEK_CUR);
	obj->id = st->snap.n_objects + 1;
	obj->task = 1;
	obj->file.flags = fcntl(fd, F_GETFL);
	obj->file.has_pos = pos >= 0;
	obj->file.pos = pos >= 0 ? pos : 0;
	obj->file.dev = p.st.st_dev;
	obj->file.ino = p.st.st_ino;
	st->snap.objects[st->snap.n_objects++] = obj;
	st->task.fds[st->task.n_fds++] = (struct ckpt_fd){ fd, false, obj->id };
	return true;
}

static void *a_alloc(void *arena, size_t n)
{
	return ckpt_alloc(arena, n);
}

static void a_free(void *arena, void *p)
{
	(void)arena, (void)p;
}

static bool collect(struct stage *st, struct ckpt_object *obj, int number)
{
	struct ckpt_probe p = { 0 };
	ProtobufCAllocator allocator = { a_alloc, a_free, st->arena };
	ProtobufCMessage *msg = ckpt_alloc(st->arena, obj->kind->message->sizeof_message);
	size_t len;
	uint8_t *bytes;

	probe(st, number, &p);
	CKPT_FD fd = fcntl(number, F_DUPFD_CLOEXEC, 500);
	struct ckpt_collect c = {
		.src = &st->src,
		.arena = st->arena,
		.capture = st->capture,
		.object = obj->id,
		.pid = getpid(),
		.tid = getpid(),
		.number = number,
		.fd = fd,
		.flags = obj->file.flags,
		.probe = &p,
		.shell_job = st->story->shell_job,
	};
	protobuf_c_message_init(obj->kind->message, msg);
	st->capture->object = obj;
	if (obj->kind->collect(&c, msg, &st->err) < 0)
		return false;
	len = protobuf_c_message_get_packed_size(msg);
	bytes = ckpt_alloc(st->arena, len + 1);
	protobuf_c_message_pack(msg, bytes);
	obj->msg = protobuf_c_message_unpack(obj->kind->message, &allocator, len, bytes);
	if (obj->has_content) {
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
		CKPT_FD in = open(path, O_RDONLY | O_CLOEXEC);
		st->content[obj->id - 1] = ckpt_alloc(st->arena, obj->content_size + 1);
		if (pread(in, st->content[obj->id - 1], obj->content_size, 0) !=
		    (ssize_t)obj->content_size)
			return false;
	}
	return true;
}

static int to_bank(struct stage *st, uint32_t id, int taken, struct ckpt_err *err)
{
	const struct ckpt_object *obj = st->snap.objects[id - 1];
	CKPT_FD fd = taken;

	if (!(obj->file.flags & O_PATH) &&
	    fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) & ~SET_FLAGS) | (obj->file.flags & SET_FLAGS)) <
		    0)
		return ckpt_fail(err, -errno, "cannot set flags");
	if (obj->file.has_pos && lseek(fd, obj->file.pos, SEEK_SET) < 0)
		return ckpt_fail(err, -errno, "cannot set position");
	if (dup3(fd, BANK + id, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "cannot keep");
	st->made[id] = true;
	return 0;
}

static int site_fd_of(struct ckpt_site *site, uint32_t object, struct ckpt_err *err)
{
	return ((struct stage *)site)->made[object] ? (int)(BANK + object) :
						      ckpt_fail(err, -EBADF, "not made");
}

static int site_put(struct ckpt_site *site, uint32_t object, int fd, struct ckpt_err *err)
{
	return to_bank((struct stage *)site, object, fd, err);
}

static bool site_number_used(struct ckpt_site *site, int number)
{
	(void)site;
	return fcntl(number, F_GETFD) >= 0;
}

static int site_made_path(struct ckpt_site *site, const char *path, const char *aside,
			  struct ckpt_err *err)
{
	(void)site, (void)path, (void)err;
	return aside ? unlink(aside) : 0; /* as after a success */
}

static const struct ckpt_site_ops site_ops = {
	.fd_of = site_fd_of,
	.put = site_put,
	.number_used = site_number_used,
	.made_path = site_made_path,
};

static int fill(struct stage *st, struct ckpt_err *err)
{
	for (size_t i = 0; i < st->snap.n_objects; i++) {
		const struct ckpt_object *obj = st->snap.objects[i];
		int flags = fcntl(BANK + i + 1, F_GETFL);

		if (!obj->has_content)
			continue;
		fcntl(BANK + i + 1, F_SETFL, flags & ~(O_APPEND | O_DIRECT));
		if (pwrite(BANK + i + 1, st->content[i], obj->content_size, 0) !=
		    (ssize_t)obj->content_size)
			return ckpt_fail(err, -errno, "cannot fill");
		fcntl(BANK + i + 1, F_SETFL, flags);
	}
	return 0;
}

static int run(struct stage *st, const struct ckpt_plan *plan, enum ckpt_verb verb)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct ckpt_step *s = &plan->steps[i];
		const struct ckpt_object *obj = s->object ? st->snap.objects[s->object - 1] : NULL;
		int r = 0;

		if (s->verb != verb)
			continue;
		if (verb == CKPT_CREATE) {
			r = obj->kind->create(&st->site, obj, &st->err);
			r = r < 0 ? r : to_bank(st, obj->id, r, &st->err);
		} else if (verb == CKPT_LINK) {
			r = obj->kind->link(&st->site, obj, &st->err);
		} else if (verb == CKPT_INSTALL) {
			r = dup3(BANK + obj->id, s->number, s->cloexec ? O_CLOEXEC : 0);
		} else if (verb == CKPT_ATTACH) {
			r = obj->kind->attach(&st->site, obj, &st->err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static bool restore(struct stage *st)
{
	struct ckpt_restore_opts opts = { .shell_job = st->story->shell_job };
	struct ckpt_plan *plan;

	for (size_t i = 0; st->story->spoil && i < st->snap.n_objects; i++)
		st->story->spoil((ProtobufCMessage *)st->snap.objects[i]->msg);
	if (ckpt_plan_make(&plan, st->arena, &st->snap, NULL, &opts, &st->err) < 0)
		return give_up(st, "plan");
	if (plan->problems.n) {
		st->err.number = plan->problems.v[0].number;
		snprintf(st->err.text, sizeof(st->err.text), "%s", plan->problems.v[0].text);
		return give_up(st, "problem");
	}
	for (size_t i = 0; i < st->task.n_fds; i++)
		close(st->task.fds[i].number);
	for (size_t i = 0; i < st->story->n_hidden; i++)
		close(st->story->hidden[i]);
	if (st->story->between)
		st->story->between(st->story->arg);
	st->site = (struct ckpt_site){ &site_ops, &st->snap, &st->task, st->story->shell_job };
	if (run(st, plan, CKPT_CREATE) < 0 || fill(st, &st->err) < 0 ||
	    run(st, plan, CKPT_LINK) < 0 || run(st, plan, CKPT_INSTALL) < 0 ||
	    run(st, plan, CKPT_ATTACH) < 0)
		give_up(st, "restore");
	for (size_t i = 1; i <= st->snap.n_objects; i++)
		close(BANK + i);
	return !st->story->number;
}

static void prepare(struct stage *st, struct file_stage *s)
{
	Ckpt__Inventory *inv = ckpt_new(st->arena, Ckpt__Inventory);

	ckpt__inventory__init(inv);
	st->story = s;
	st->src.ops = &self_ops;
	st->snap = (struct ckpt_snapshot){ .inventory = inv,
					   .objects = st->objects,
					   .tasks = st->tasks,
					   .n_tasks = 1 };
	st->tasks[0] = &st->task;
	st->task =
		(struct ckpt_task){ .id = 1, .pid = getpid(), .pgid = getpid(), .sid = getpid() };
	st->task.fds = ckpt_alloc(st->arena, 32 * sizeof(*st->task.fds));
	st->frozen = (struct ckpt_frozen){ .pid = getpid() };
	st->ctask = (struct ckpt_capture_task){ .frozen = &st->frozen, .task = &st->task };
	st->capture = ckpt_new(st->arena, struct ckpt_capture);
	st->capture->src = &st->src;
	st->capture->arena = st->arena;
	st->capture->snap = &st->snap;
	st->capture->tasks = &st->ctask;
	st->capture->n_tasks = 1;
}

static int compare_numbers(const void *a, const void *b)
{
	return ((const struct ckpt_fd *)a)->number - ((const struct ckpt_fd *)b)->number;
}

static bool dump(struct stage *st)
{
	for (size_t i = 0; i < st->story->n; i++)
		if (!add(st, st->story->fd[i]))
			return give_up(st, "match");
	qsort(st->task.fds, st->task.n_fds, sizeof(*st->task.fds), compare_numbers);
	for (size_t i = 0; i < st->snap.n_objects; i++) {
		int number = -1;

		for (size_t k = 0; k < st->task.n_fds; k++)
			if (st->task.fds[k].object == i + 1)
				number = st->task.fds[k].number;
		if (!collect(st, st->objects[i], number))
			return give_up(st, "collect");
	}
	st->story->n_objects = st->snap.n_objects;
	return true;
}

bool file_round_trip(struct file_stage *s)
{
	static struct stage st;
	bool done;

	memset(&st, 0, sizeof(st));
	s->problem[0] = '\0';
	s->number = 0;
	if (ckpt_arena_open(&st.arena, 1ul << 30, &st.err) < 0) {
		st.story = s;
		return give_up(&st, "arena");
	}
	prepare(&st, s);
	done = dump(&st) && restore(&st);
	ckpt_arena_close(st.arena);
	return done;
}

bool file_round_trip_of(int fd, ...)
{
	struct file_stage s = { .n = 0 };
	bool done;
	va_list ap;

	va_start(ap, fd);
	for (; fd >= 0 && s.n < 8; fd = va_arg(ap, int))
		s.fd[s.n++] = fd;
	va_end(ap);
	done = file_round_trip(&s);
	if (!done)
		printf("# %s\n", s.problem);
	return done;
}
