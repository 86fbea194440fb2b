/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up snapshots. Messages are filled by reflection, so that a new kind takes part without an
 * edit here. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "proto/eventfd.pb-c.h"
#include "tests/lib/sample.h"

#define ROOM 1000
#define DEPTH 3

static void fill_message(struct ckpt_arena *arena, ProtobufCMessage *msg, unsigned int seed,
			 int depth);

static size_t value_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

static void fill_value(struct ckpt_arena *arena, const ProtobufCFieldDescriptor *f, void *p,
		       unsigned int seed, int depth)
{
	ProtobufCBinaryData *bytes = p;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)p = ckpt_strdup(arena, "/a \"path\"\x1b[2J");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes->len = 3 + seed % 100;
		bytes->data = ckpt_alloc(arena, bytes->len);
		memset(bytes->data, seed, bytes->len);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)p = ckpt_alloc(
			arena, ((const ProtobufCMessageDescriptor *)f->descriptor)->sizeof_message);
		protobuf_c_message_init(f->descriptor, *(void **)p);
		fill_message(arena, *(ProtobufCMessage **)p, seed + 1, depth + 1);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int32_t *)p = ((const ProtobufCEnumDescriptor *)f->descriptor)->values[0].value;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)p = seed & 1;
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		*(float *)p = seed;
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		*(double *)p = seed;
		break;
	default:
		if (value_size(f) == 4)
			*(uint32_t *)p = seed * 2654435761u;
		else
			*(uint64_t *)p = seed * 0x9e3779b97f4a7c15ull;
	}
}

static void fill_message(struct ckpt_arena *arena, ProtobufCMessage *msg, unsigned int seed,
			 int depth)
{
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		char *p = (char *)msg + f->offset, *q = (char *)msg + f->quantifier_offset, *list;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			if (f->type == PROTOBUF_C_TYPE_MESSAGE && depth >= DEPTH)
				continue;
			list = ckpt_alloc(arena, 2 * value_size(f));
			fill_value(arena, f, list, seed + i, depth);
			fill_value(arena, f, list + value_size(f), seed + i + 1, depth);
			*(size_t *)q = 2;
			*(void **)p = list;
			continue;
		}
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			*(uint32_t *)q = f->id;
		else if (f->label == PROTOBUF_C_LABEL_OPTIONAL &&
			 f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
			*(protobuf_c_boolean *)q = 1;
		fill_value(arena, f, p, seed + i, depth);
	}
}

ProtobufCMessage *sample_message(struct ckpt_arena *arena, const ProtobufCMessageDescriptor *type,
				 unsigned int seed)
{
	ProtobufCMessage *msg = ckpt_alloc(arena, type->sizeof_message);

	protobuf_c_message_init(type, msg);
	fill_message(arena, msg, seed, 0);
	return msg;
}

struct ckpt_object *sample_object(struct ckpt_arena *arena, struct ckpt_snapshot *snap,
				  const struct ckpt_kind *kind)
{
	struct ckpt_object *obj = ckpt_new(arena, struct ckpt_object);

	snap->objects[snap->n_objects++] = obj;
	obj->id = snap->n_objects;
	obj->kind = kind;
	obj->msg = sample_message(arena, kind->message, obj->id);
	if (kind->scope == CKPT_PER_FILE) {
		obj->file.flags = O_RDWR;
		obj->file.has_pos = true;
		obj->file.pos = 1ull << 33;
		obj->file.dev = 5;
		obj->file.ino = 100 + obj->id;
	}
	return obj;
}

static struct ckpt_snapshot *new_snapshot(struct ckpt_arena *arena)
{
	struct ckpt_snapshot *snap = ckpt_new(arena, struct ckpt_snapshot);

	snap->inventory = ckpt_new(arena, Ckpt__Inventory);
	ckpt__inventory__init(snap->inventory);
	snap->inventory->format = CKPT_IMAGE_FORMAT;
	snap->inventory->has_time_ns = true;
	snap->inventory->time_ns = 1700000000123456789ull;
	snap->inventory->hostname = ckpt_strdup(arena, "host");
	snap->objects = ckpt_alloc(arena, ROOM * sizeof(*snap->objects));
	snap->tasks = ckpt_alloc(arena, ROOM * sizeof(*snap->tasks));
	snap->lost = ckpt_alloc(arena, 2 * sizeof(*snap->lost));
	snap->lost[0] = "fd 7: one thing";
	snap->lost[1] = "another";
	snap->n_lost = 2;
	return snap;
}

static struct ckpt_task *add_task(struct ckpt_arena *arena, struct ckpt_snapshot *snap,
				  enum ckpt_task_state state)
{
	struct ckpt_task *task = ckpt_new(arena, struct ckpt_task);

	snap->tasks[snap->n_tasks++] = task;
	task->id = snap->n_tasks;
	task->parent = task->id > 1;
	task->pid = 1000 * task->id;
	task->pgid = task->sid = 1000;
	task->run_state = state;
	task->stop_signal = state == CKPT_STOPPED ? 19 : 0;
	task->exit_status = state == CKPT_ZOMBIE ? 0x0300 : 0;
	strcpy(task->comm, "fifteen letters");
	return task;
}

static void add_thread(struct ckpt_arena *arena, struct ckpt_task *task, size_t xstate_len)
{
	struct ckpt_thread *thread;

	if (!task->threads)
		task->threads = ckpt_alloc(arena, 2 * sizeof(*task->threads));
	thread = &task->threads[task->n_threads];
	thread->tid = task->pid + task->n_threads++;
	thread->regs.gp.rip = 0x401000 + thread->tid;
	thread->regs.sigmask = 1ull << 40;
	thread->regs.xstate_len = xstate_len;
	thread->regs.xstate = ckpt_alloc(arena, xstate_len);
	memset(thread->regs.xstate, thread->tid, xstate_len);
}

static Ckpt__Area *add_area(struct ckpt_arena *arena, struct ckpt_task *task, uint64_t start,
			    uint64_t n_pages)
{
	Ckpt__Area *area = ckpt_new(arena, Ckpt__Area);

	ckpt__area__init(area);
	area->start = start;
	area->end = start + n_pages * CKPT_PAGE;
	area->prot = PROT_READ | PROT_WRITE;
	task->mm->areas[task->mm->n_areas++] = area;
	return area;
}

/* Three private pages in a row, a hole, two mapped from FILE. Runs: two pages, then one that is in
 * the second area. */
static void add_memory(struct ckpt_arena *arena, struct ckpt_task *task, uint32_t file)
{
	Ckpt__Area *area;

	task->mm = ckpt_new(arena, Ckpt__Mm);
	ckpt__mm__init(task->mm);
	task->mm->exe = file;
	task->mm->start_code = 0x400000;
	task->mm->end_code = 0x401000;
	task->mm->auxv.len = 32;
	task->mm->auxv.data = ckpt_alloc(arena, 32);
	task->mm->areas = ckpt_alloc(arena, 4 * sizeof(*task->mm->areas));
	add_area(arena, task, 0x400000, 3)->name = ckpt_strdup(arena, "[heap]");
	area = add_area(arena, task, 0x500000, 2);
	area->has_file = area->has_offset = true;
	area->file = file;
	area->offset = 0x7000;
	task->pages.n = 2;
	task->pages.run = ckpt_alloc(arena, 2 * sizeof(*task->pages.run));
	task->pages.run[0] = (struct ckpt_run){ 0x400000, 2, 4096 };
	task->pages.run[1] = (struct ckpt_run){ 0x501000, 1, 0 };
}

static void set_fds(struct ckpt_arena *arena, struct ckpt_task *task, uint32_t first, size_t n)
{
	task->fds = ckpt_alloc(arena, n * sizeof(*task->fds));
	task->n_fds = n;
	for (size_t i = 0; i < n; i++)
		task->fds[i] =
			(struct ckpt_fd){ .number = 2 * i, .cloexec = i % 2, .object = first + i };
}

struct ckpt_snapshot *sample_small(struct ckpt_arena *arena)
{
	struct ckpt_snapshot *snap = new_snapshot(arena);
	struct ckpt_task *task = add_task(arena, snap, CKPT_RUNNING);

	add_thread(arena, task, 576);
	sample_object(arena, snap, ckpt_kind_find("eventfd"))->task = 1;
	snap->objects[0]->has_content = true;
	snap->objects[0]->content_size = 4097;
	snap->objects[0]->content.n = 1;
	snap->objects[0]->content.run = ckpt_new(arena, struct ckpt_run);
	*snap->objects[0]->content.run = (struct ckpt_run){ 0, 2, 3 * 4096 };
	set_fds(arena, task, 1, 1);
	add_memory(arena, task, 1);
	return snap;
}

static void add_state(struct ckpt_arena *arena, struct ckpt_snapshot *snap, enum ckpt_scope scope,
		      uint32_t task, pid_t tid, struct ckpt_object ***listp, size_t *np)
{
	*listp = ckpt_alloc(arena, ckpt_n_kinds * sizeof(**listp));
	for (unsigned int k = 0; k < ckpt_n_kinds; k++) {
		struct ckpt_object *obj;

		if (ckpt_kinds[k]->scope != scope)
			continue;
		obj = sample_object(arena, snap, ckpt_kinds[k]);
		obj->task = task;
		obj->tid = tid;
		(*listp)[(*np)++] = obj;
	}
}

struct ckpt_snapshot *sample_full(struct ckpt_arena *arena)
{
	struct ckpt_snapshot *snap = new_snapshot(arena);
	struct ckpt_object **of_tree;
	size_t n_files, n = 0;

	for (int i = 0; i < 3; i++)
		add_task(arena, snap, (enum ckpt_task_state)i);
	for (unsigned int k = 0; k < ckpt_n_kinds; k++) {
		if (ckpt_kinds[k]->scope == CKPT_PER_FILE)
			sample_object(arena, snap, ckpt_kinds[k])->task = 1;
	}
	n_files = snap->n_objects;
	for (int i = 0; i < 2; i++) {
		struct ckpt_task *task = snap->tasks[i];

		add_thread(arena, task, 2696);
		if (!i)
			add_thread(arena, task, 11000);
		set_fds(arena, task, 1, n_files);
		add_memory(arena, task, 1);
		add_state(arena, snap, CKPT_PER_TASK, task->id, 0, &task->state, &task->n_state);
		for (size_t t = 0; t < task->n_threads; t++)
			add_state(arena, snap, CKPT_PER_THREAD, task->id, task->threads[t].tid,
				  &task->threads[t].state, &task->threads[t].n_state);
	}
	add_state(arena, snap, CKPT_PER_TREE, 0, 0, &of_tree, &n);
	return snap;
}

int sample_folder(char name[32])
{
	strcpy(name, "/tmp/ckpt-unit.XXXXXX");
	return mkdtemp(name) ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

void sample_folder_remove(int dirfd, const char *name)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fdopendir(fd);
	struct dirent *e;

	while (folder && (e = readdir(folder))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd, e->d_name, 0);
	}
	if (folder)
		closedir(folder);
	close(dirfd);
	rmdir(name);
}

int sample_write(struct ckpt_arena *arena, const struct ckpt_snapshot *snap, int dirfd,
		 struct ckpt_err *err)
{
	static const char dir[] = "sample";
	struct ckpt_image_writer *w;
	char pages[SAMPLE_PAGES];
	uint64_t bytes;
	uint32_t crc;
	int r = ckpt_image_create(&w, arena, dirfd, dir, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = i * 7 + i / 4096;
	if (pwrite(ckpt_image_writer_files(w)->part[0].fd, pages, sizeof(pages), 0) !=
	    sizeof(pages)) {
		ckpt_image_writer_close(w);
		return ckpt_fail(err, -EIO, "pages: cannot write");
	}
	crc = ckpt_crc32c(0, pages, sizeof(pages));
	ckpt_image_set_checksums(w, sizeof(pages), &crc, 1);
	r = ckpt_image_commit(w, snap, &bytes, err);
	ckpt_image_writer_close(w);
	return r;
}
