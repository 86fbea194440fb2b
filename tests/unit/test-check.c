/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that are not sound, each wrong in one thing, and images whose checksums are right but
 * not their contents. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;
static struct ckpt_err err;

static bool sound(const struct ckpt_snapshot *snap)
{
	err = (struct ckpt_err)CKPT_ERR_INIT;
	return ckpt_snapshot_check(snap, SAMPLE_PAGES, &err) == 0;
}

/* STATEMENT spoils a fresh full snapshot S; T is its root, U the second task, Z the zombie. */
#define BAD(statement)                                                                 \
	do {                                                                           \
		struct ckpt_snapshot *s = sample_full(arena);                          \
		struct ckpt_task *t = s->tasks[0], *u = s->tasks[1], *z = s->tasks[2]; \
		struct ckpt_object *o = s->objects[0];                                 \
		(void)t, (void)u, (void)z, (void)o;                                    \
		statement;                                                             \
		ok(!sound(s), "%s: %s", #statement, err.text);                         \
	} while (0)
#define GOOD(statement)                                                                \
	do {                                                                           \
		struct ckpt_snapshot *s = sample_full(arena);                          \
		struct ckpt_task *t = s->tasks[0], *u = s->tasks[1], *z = s->tasks[2]; \
		struct ckpt_object *o = s->objects[0];                                 \
		(void)t, (void)u, (void)z, (void)o;                                    \
		statement;                                                             \
		ok(sound(s), "%s may be %s", #statement, err.text);                    \
	} while (0)

static void tasks(void)
{
	GOOD();
	BAD(s->inventory = NULL);
	BAD(s->inventory->format = 2);
	BAD(s->inventory->format = 0);
	BAD(s->n_tasks = 0);
	BAD(s->inventory->has_root_pid = true);
	BAD(t->id = 2);
	BAD(t->parent = 1);
	BAD(u->parent = 0);
	BAD(u->parent = 2);
	BAD(u->parent = 3);
	BAD(t->pid = 0);
	BAD(t->pid = -5);
	BAD(t->pid = 1 << 23);
	BAD(u->pid = u->threads[0].tid = t->pid);
	BAD(z->pid = t->threads[1].tid);
	BAD(t->threads[1].tid = t->pid);
	BAD(t->threads[1].tid = 0);
	BAD(t->pgid = -1);
	BAD(t->sid = 1 << 23);
	GOOD(t->sid = t->pgid = 0);
	BAD(memset(t->comm, 'x', 16));
	BAD(t->run_state = (enum ckpt_task_state)7);
	BAD(t->mm = NULL);
	BAD(t->n_threads = 0);
	BAD(u->stop_signal = 0);
	BAD(u->stop_signal = 65);
	BAD(z->exit_status = 0x10000);
	BAD(z->mm = t->mm);
	BAD((z->fds = t->fds, z->n_fds = 1));
	BAD((z->threads = t->threads, z->n_threads = 1));
	GOOD(u->shares = CLONE_FS | CLONE_FILES);
	BAD(u->shares = CLONE_VM);
	BAD(t->shares = CLONE_FS);
	BAD(z->shares = CLONE_FS);
	GOOD((t->threads[0].ended = true, t->exit_status = 0x700));
	BAD((t->threads[0].ended = true, t->exit_status = 9));
	BAD(t->threads[1].ended = true);
	BAD((t->threads[0].ended = true, t->n_threads = 1));
}

static void threads_and_objects(void)
{
	BAD(t->threads[0].regs.xstate_len = 575);
	BAD(t->threads[0].regs.xstate_len = 65537);
	BAD(t->threads[0].regs.xstate = NULL);
	BAD(t->fds[1].number = 0);
	BAD(t->fds[0].number = -1);
	BAD(t->fds[0].object = 0);
	BAD(t->fds[0].object = s->n_objects + 1);
	BAD(t->fds[0].object = s->n_objects);
	BAD(t->state[0] = t->state[1]);
	BAD(t->state[0] = u->state[0]);
	BAD(t->state[0] = o);
	BAD(t->n_state--);
	BAD(t->threads[0].state[0] = t->threads[1].state[0]);
	BAD(t->threads[1].n_state = 0);
	BAD(o->id = 2);
	BAD(o->kind = NULL);
	BAD(o->msg = s->objects[1]->msg);
	BAD(o->task = 4);
	GOOD(o->task = 0);
	BAD(sample_object(arena, s, t->state[0]->kind));
	BAD((t->state[0]->has_content = true));
	BAD((o->has_content = true, o->content_size = UINT64_MAX));
}

static void areas(void)
{
	BAD(t->mm->areas[0]->start++);
	BAD(t->mm->areas[0]->end = t->mm->areas[0]->start);
	BAD(t->mm->areas[0]->end = 0);
	BAD(t->mm->areas[1]->start = 0x402000);
	BAD(t->mm->areas[1]->end = CKPT_TASK_SIZE + CKPT_PAGE);
	BAD(t->mm->areas[0]->prot = 8);
	BAD((t->mm->areas[0]->has_flags = true, t->mm->areas[0]->flags = 1u << 31));
	BAD(t->mm->areas[0]->shared = true);
	BAD(t->mm->areas[1]->file = s->n_objects);
	BAD(t->mm->areas[1]->file = s->n_objects + 1);
	BAD(t->mm->areas[1]->offset = 1);
	BAD(t->mm->areas[1]->offset = 1ull << 63);
	BAD(t->mm->exe = 0);
	BAD(t->mm->exe = s->n_objects);
	BAD(t->mm->start_code = t->mm->end_code + 1);
	BAD(t->mm->brk = UINT64_MAX);
	BAD(t->mm->auxv.len = 31);
	BAD(t->mm->auxv.len = 1 << 20);
}

static void runs(void)
{
	BAD(t->pages.run[0].n_pages = 0);
	BAD(t->pages.run[0].n_pages = 4);
	BAD(t->pages.run[0].n_pages = UINT64_MAX / CKPT_PAGE + 2);
	BAD(t->pages.run[0].at--);
	BAD(t->pages.run[0].at = 0x3ff000);
	BAD(t->pages.run[0].at = UINT64_MAX - CKPT_PAGE + 1);
	BAD(t->pages.run[1].at = 0x401000);
	BAD(t->pages.run[1].at = 0x502000);
	BAD(t->pages.run[0].offset = 4 * CKPT_PAGE);
	BAD(t->pages.run[0].offset = UINT64_MAX - CKPT_PAGE + 1);
	BAD(t->pages.run[0].offset = 1);
	BAD((t->mm->areas[1]->shared = true));
	GOOD((t->mm->areas[1]->start = 0x403000, t->pages.run[0].n_pages = 4));
	GOOD((o->has_content = true, o->content_size = 1));
	BAD((o->has_content = true, o->content_size = 8192, o->content = t->pages));
	is(ckpt_snapshot_check(sample_full(arena), SAMPLE_PAGES - CKPT_PAGE, &err), 0,
	   "pages that nothing refers to may be missing");
	ok(ckpt_snapshot_check(sample_full(arena), SAMPLE_PAGES + 1, &err) < 0, "half pages: %s",
	   err.text);
}

/* ---- images made by hand, with the right checksums ---- */
struct hand {
	struct ckpt_record_out out;
	int dirfd, fd;
	char name[32];
};

static void hand_open(struct hand *h)
{
	h->dirfd = sample_folder(h->name);
	h->fd = openat(h->dirfd, "image", O_CREAT | O_RDWR, 0600);
	must(h->fd >= 0 && ckpt_record_out_open(&h->out, h->fd, "dir", &err) == 0,
	     "an image by hand");
}

static void put(struct hand *h, const char *kind, uint32_t id, uint32_t task,
		const ProtobufCMessage *body)
{
	Ckpt__Record rec = CKPT__RECORD__INIT;

	rec.kind = (char *)kind;
	rec.has_id = id != 0;
	rec.id = id;
	rec.has_task = task != 0;
	rec.task = task;
	if (ckpt_record_write(&h->out, &rec, body, &err) < 0)
		exit(1);
}

static void put_end(struct hand *h)
{
	Ckpt__Checksums sums = CKPT__CHECKSUMS__INIT;
	Ckpt__Trailer trailer = CKPT__TRAILER__INIT;

	sums.chunk = CKPT_CHUNK;
	put(h, "checksums", 0, 0, &sums.base);
	trailer.n_records = h->out.chain.n_records;
	trailer.crc = h->out.chain.crc;
	trailer.content_id = h->out.chain.content_id;
	put(h, "trailer", 0, 0, &trailer.base);
}

/* Reads it, with an arena so small that a bomb would end the program. */
static int hand_read(struct hand *h)
{
	struct ckpt_arena *small;
	struct ckpt_snapshot *snap;
	struct ckpt_image *img = NULL;
	int r = ckpt_record_out_flush(&h->out, &err);

	if (r < 0 || ckpt_arena_open(&small, 8 << 20, &err) < 0)
		exit(1);
	r = ckpt_image_open(&img, small, h->dirfd, "dir", &err);
	if (r >= 0)
		r = ckpt_image_load(img, &snap, &err);
	ckpt_image_close(img);
	ckpt_arena_close(small);
	ckpt_record_out_close(&h->out);
	close(h->fd);
	sample_folder_remove(h->dirfd, h->name);
	return r;
}

static void refused(struct hand *h, enum ckpt_code number, const char *what)
{
	int r = hand_read(h);

	ok(r < 0 && err.number == number, "%s: %s", what, r < 0 ? err.text : "accepted");
	if (r >= 0 || err.number != number)
		diag("number %d, not %d", err.number, number);
}

static const ProtobufCMessage *inventory(void)
{
	return &sample_small(arena)->inventory->base;
}

static void bad_records(void)
{
	Ckpt__Task task = CKPT__TASK__INIT;
	Ckpt__Pages pages = CKPT__PAGES__INIT;
	int64_t run[] = { 1ll << 60, 1, 0, INT64_MAX, INT64_MAX, INT64_MAX };
	struct hand h;

	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put(&h, "flux", 1, 0, NULL),
		put_end(&h);
	refused(&h, CKPT_E_KIND_UNKNOWN, "an unknown kind");
	ok(strstr(err.text, "flux") != NULL, "it is named");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "no task");
	hand_open(&h), put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "nothing at all");
	hand_open(&h), put(&h, "eventfd", 1, 0, NULL), put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "no inventory in front");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put(&h, "eventfd", 1, 0, NULL),
		put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "an object without body");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()),
		put(&h, "eventfd", 2, 0, inventory()), put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "an object out of order");
	task.id = 2;
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put(&h, "task", 2, 0, &task.base),
		put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "a task out of order");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put(&h, "mm", 0, 7, inventory()),
		put_end(&h);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "memory of no task");
	task.id = 1;
	pages.has_task = true;
	pages.task = 1;
	pages.runs = run;
	for (pages.n_runs = 1; pages.n_runs <= 6; pages.n_runs++) {
		hand_open(&h), put(&h, "inventory", 0, 0, inventory()),
			put(&h, "task", 1, 0, &task.base);
		put(&h, "pages", 0, 1, &pages.base), put_end(&h);
		refused(&h, CKPT_E_IMAGE_DAMAGED, "impossible runs");
	}
}

static void bad_frames(void)
{
	struct ckpt_image_header head = { CKPT_IMAGE_MAGIC, CKPT_IMAGE_SPREAD + 1, 0 };
	Ckpt__Trailer trailer = CKPT__TRAILER__INIT;
	ProtobufCMessageUnknownField strange = { 99, PROTOBUF_C_WIRE_TYPE_VARINT, 1,
						 (uint8_t[]){ 1 } };
	Ckpt__Inventory newer;
	struct hand h;

	memcpy(&newer, inventory(), sizeof(newer));
	newer.base.n_unknown_fields = 1;
	newer.base.unknown_fields = &strange;
	hand_open(&h), put(&h, "inventory", 0, 0, &newer.base), put_end(&h);
	refused(&h, CKPT_E_IMAGE_NEWER, "a field of a later version");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory());
	refused(&h, CKPT_E_IMAGE_DAMAGED, "no trailer");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()),
		put(&h, "trailer", 0, 0, &trailer.base);
	refused(&h, CKPT_E_IMAGE_DAMAGED, "a wrong trailer");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put_end(&h),
		put(&h, "inventory", 0, 0, inventory());
	refused(&h, CKPT_E_IMAGE_DAMAGED, "a record behind the trailer");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put_end(&h);
	h.out.buf[8] = 9;
	refused(&h, CKPT_E_IMAGE_DAMAGED, "a flipped format");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put_end(&h);
	head.crc = ckpt_crc32c(0, &head, 12);
	memcpy(h.out.buf, &head, sizeof(head));
	refused(&h, CKPT_E_IMAGE_NEWER, "a later format");
	hand_open(&h), put(&h, "inventory", 0, 0, inventory()), put_end(&h);
	memcpy(h.out.buf,
	       "\x7f"
	       "ELF\2\1\1",
	       8);
	refused(&h, CKPT_E_IMAGE_FOREIGN, "something else");
}

/* Bodies of random bytes, and sound ones with bytes changed before the checksum is made: never a
 * crash. */
static void garbage(void)
{
	static const char *const kinds[] = { "inventory", "task",      "mm",     "pages",
					     "eventfd",   "checksums", "trailer" };
	uint64_t x = 7;
	int accepted = 0;

	for (int round = 0; round < 3000; round++) {
		Ckpt__Record rec = CKPT__RECORD__INIT;
		unsigned char body[200];
		struct ckpt_record_in in = { .path = "garbage", .number = 1, .kind = "?" };
		struct ckpt_snapshot_builder *b;
		unsigned char packed[400];
		struct ckpt_arena *small;

		for (size_t i = 0; i < sizeof(body); i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			/* Mostly small numbers: valid tags and lengths. */
			body[i] = x >> 60 ? x >> 40 & 0x3f : x >> 56;
		}
		if (ckpt_arena_open(&small, 1 << 20, &err) < 0)
			exit(1);
		b = ckpt_snapshot_builder_new(small);
		for (int k = 0; k < 4; k++) {
			const char *kind = k ? kinds[(x >> 33) % 5] : "inventory";

			rec.kind = (char *)kind;
			rec.has_id = rec.has_task = rec.has_body = true;
			rec.id = rec.task = 1;
			rec.body.data = k ? body : (uint8_t *)"\x08\x01";
			rec.body.len = k ? (x >> 50) % sizeof(body) : 2;
			in.len = ckpt__record__pack(&rec, packed);
			in.data = packed;
			strcpy(in.kind, kind);
			accepted += ckpt_snapshot_builder_add(b, &in, &err) == 0;
			x += 12345;
		}
		ckpt_arena_close(small);
	}
	ok(accepted >= 3000, "garbage is survived");
}

/* Two bytes of an image can ask for a hundred of memory; not for more than the arena has. */
static void bombs(void)
{
	size_t n = 2 + 3 * 700000;
	unsigned char *body = malloc(n);
	struct ckpt_record_in in = { .path = "bomb", .number = 1, .kind = "inventory" };
	struct ckpt_arena *small;

	memcpy(body, "\x08\x01", 2); /* format 1 */
	for (size_t i = 2; i < n; i += 3)
		memcpy(body + i, "\x8a\x01", 3); /* field 17, an empty text */
	must(ckpt_record_unpack(&in, &ckpt__inventory__descriptor, arena, body, n, &err) != NULL,
	     "much memory takes it");
	must(ckpt_arena_open(&small, 8 << 20, &err) == 0, "a small arena");
	ok(!ckpt_record_unpack(&in, &ckpt__inventory__descriptor, small, body, n, &err),
	   "a bomb: %s", err.text);
	ckpt_arena_close(small);
	free(body);
}

int main(void)
{
	must(ckpt_arena_open(&arena, (size_t)4 << 30, &err) == 0, "an arena opens");
	tasks();
	threads_and_objects();
	areas();
	runs();
	bad_records();
	bad_frames();
	garbage();
	bombs();
	ckpt_arena_close(arena);
	return tap_end();
}
