/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libFuzzer target: images that go on from each other, and records of pages that were given up.
 * The input is up to three images, each: what is put right in it (enum), its pages in a byte, the
 * length of its records in two, the records (framing.h), and the same of the file "given-up". The
 * last image is loaded, made one of all, and what it overrides is freed: then it must be what it
 * was. With -DSTANDALONE a program that runs inputs, or makes one of folders of images.
 */
#include "engine/store/dedup.h"
#include "engine/store/flatten.h"
#include "engine/store/given-up.h"
#include "tests/fuzz/framing.h"

#define ARENA_MOST (256ul << 20)
#define IMAGES 3

enum { PARENT = 1, SUMS = 2, GIVEN_UP = 4, HEIR = 8, PACKED = 16, MANY = 32 };

struct part {
	uint8_t flags;
	uint32_t n_pages;
	int number;
	uint64_t parent_id, id, base, end;
};

/* Checksums of pages that are all 'a', 'b', ... as the file has them. */
static void right_sums(const struct part *p, Ckpt__Checksums *sums)
{
	static uint32_t crc[256];
	static char chunk[CKPT_CHUNK];
	uint64_t size = p->n_pages * CKPT_PAGE;

	memset(chunk, 'a' + p->number, sizeof(chunk));
	sums->size = size;
	sums->chunk = CKPT_CHUNK;
	sums->crc = crc;
	sums->n_crc = (size + CKPT_CHUNK - 1) / CKPT_CHUNK;
	for (size_t i = 0; i < sums->n_crc; i++) {
		uint64_t left = size - i * (uint64_t)CKPT_CHUNK;

		crc[i] = ckpt_crc32c(0, chunk, left < CKPT_CHUNK ? left : CKPT_CHUNK);
	}
}

static uint32_t repack(Ckpt__Record *rec, const ProtobufCMessage *msg, uint8_t *body, uint32_t len)
{
	static uint8_t inner[65536];

	if (protobuf_c_message_get_packed_size(msg) > 60000)
		return len;
	rec->has_body = 1;
	rec->body = (ProtobufCBinaryData){ protobuf_c_message_pack(msg, inner), inner };
	if (ckpt__record__get_packed_size(rec) > 65535)
		return len;
	return ckpt__record__pack(rec, body);
}

static uint32_t edit_sums(struct part *p, Ckpt__Record *rec, uint8_t *body, uint32_t len)
{
	Ckpt__Checksums *got = ckpt__checksums__unpack(NULL, rec->body.len, rec->body.data), sums;
	char dir[8];

	if (!got)
		return len;
	sums = *got;
	if (p->flags & SUMS)
		right_sums(p, &sums);
	if (p->flags & PARENT && p->number) {
		snprintf(dir, sizeof(dir), "../%d", p->number - 1);
		sums.has_parent_id = sums.has_begins = 1;
		sums.parent_id = p->parent_id;
		sums.parent_dir = dir;
		sums.begins = (p->base + CKPT_CHUNK - 1) / CKPT_CHUNK * CKPT_CHUNK;
	}
	p->end = sums.begins + sums.size;
	len = repack(rec, &sums.base, body, len);
	ckpt__checksums__free_unpacked(got, NULL);
	return len;
}

/* The same without the pages that are given up. */
static void right_given_up(const struct part *p, Ckpt__GivenUp *g)
{
	static char chunk[CKPT_CHUNK];
	uint64_t size = p->n_pages * CKPT_PAGE;

	for (size_t i = 0; i < g->n_crc && i < g->n_chunk && (i + 1) * 32 <= g->pages.len; i++) {
		uint64_t at = g->chunk[i] * (uint64_t)CKPT_CHUNK, left = at < size ? size - at : 0;

		memset(chunk, 'a' + p->number, sizeof(chunk));
		for (size_t k = 0; k < CKPT_CHUNK_PAGES; k++)
			if (g->pages.data[i * 32 + k / 8] >> k % 8 & 1)
				memset(chunk + k * CKPT_PAGE, 0, CKPT_PAGE);
		g->crc[i] = ckpt_crc32c(0, chunk, left < CKPT_CHUNK ? left : CKPT_CHUNK);
	}
}

static uint32_t edit_given_up(const struct part *p, Ckpt__Record *rec, uint8_t *body, uint32_t len)
{
	Ckpt__GivenUp *got = ckpt__given_up__unpack(NULL, rec->body.len, rec->body.data);

	if (!got)
		return len;
	if (p->flags & HEIR)
		got->image = p->id;
	if (p->flags & SUMS)
		right_given_up(p, got);
	len = repack(rec, &got->base, body, len);
	ckpt__given_up__free_unpacked(got, NULL);
	return len;
}

static uint32_t edit(void *arg, uint8_t *body, uint32_t len)
{
	Ckpt__Record *rec = ckpt__record__unpack(NULL, len, body);
	const ProtobufCBinaryData was = rec ? rec->body : (ProtobufCBinaryData){ 0 };
	struct part *p = arg;

	if (!rec)
		return len;
	if (!strcmp(rec->kind, "checksums"))
		len = edit_sums(p, rec, body, len);
	else if (!strcmp(rec->kind, "given-up"))
		len = edit_given_up(p, rec, body, len);
	rec->body = was;
	ckpt__record__free_unpacked(rec, NULL);
	return len;
}

static int create(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	if (fd < 0)
		abort();
	return fd;
}

static void put_pages(const struct part *p, int dirfd)
{
	static char page[511 * CKPT_PAGE];
	int fd = create(dirfd, CKPT_PAGES_NAME);

	memset(page, 'a' + p->number, sizeof(page));
	put(fd, page, p->n_pages * CKPT_PAGE);
	close(fd);
}

static size_t take_part(struct part *p, int dirfd, const uint8_t *data, size_t size)
{
	size_t len = data[2] | data[3] << 8, at = 4;
	int fd;

	p->flags = data[0];
	p->n_pages = data[1] + (p->flags & MANY ? 256 : 0);
	len = len < size - at ? len : size - at;
	put_pages(p, dirfd);
	fd = create(dirfd, CKPT_IMAGE_NAME);
	p->id = put_image(fd, p->flags & PACKED ? CKPT_IMAGE_PACKED : CKPT_IMAGE_FORMAT, data + at,
			  len, edit, p);
	close(fd);
	at += len;
	unlinkat(dirfd, CKPT_GIVEN_UP_NAME, 0);
	if (!(p->flags & GIVEN_UP) || at + 2 > size)
		return at;
	len = data[at] | data[at + 1] << 8;
	at += 2;
	len = len < size - at ? len : size - at;
	fd = create(dirfd, CKPT_GIVEN_UP_NAME);
	put_image(fd, CKPT_IMAGE_FORMAT, data + at, len, edit, p);
	close(fd);
	return at + len;
}

static int numbered(int top, int i)
{
	const char name[2] = { '0' + i, 0 };

	mkdirat(top, name, 0700);
	return openat(top, name, O_RDONLY | O_DIRECTORY);
}

/* The last of them, made one with those before. The checksum of that, 0: it cannot be. */
static uint64_t flat(int top, int tip)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_image_writer *w = NULL;
	struct ckpt_arena *arena;
	struct ckpt_image *img;
	uint64_t bytes, id = 0;
	int out = numbered(top, 9);

	if (ckpt_arena_open(&arena, ARENA_MOST, &err) < 0)
		abort();
	if (ckpt_image_open(&img, arena, tip, "tip", &err) >= 0) {
		if (ckpt_image_create(&w, arena, out, "flat", &err) >= 0 &&
		    ckpt_image_flatten(img, w, arena, NULL, NULL, &bytes, &err) >= 0)
			id = ckpt_image_writer_content_id(w) | 1;
		ckpt_image_writer_close(w);
		ckpt_image_close(img);
	}
	ckpt_image_remove(out, true);
	close(out);
	ckpt_arena_close(arena);
	return id;
}

static void dedup(int tip, bool give_up)
{
	const struct ckpt_dedup_opts opts = { .give_up_parents = give_up };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_dedup_done *done;
	struct ckpt_arena *arena;
	struct ckpt_image *img;
	size_t n;

	if (ckpt_arena_open(&arena, ARENA_MOST, &err) < 0)
		abort();
	if (ckpt_image_open_whole(&img, arena, tip, "tip", &err) >= 0) {
		ckpt_image_dedup(img, &opts, arena, &done, &n, &err);
		ckpt_image_close(img);
	}
	ckpt_arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct part p[IMAGES] = { 0 };
	int top = fuzz_folder(), tip = -1;
	size_t at = 0;
	uint64_t before;

	for (int i = 0; i < IMAGES && at + 4 <= size; i++) {
		if (tip >= 0)
			close(tip);
		tip = numbered(top, i);
		p[i].number = i;
		p[i].parent_id = i ? p[i - 1].id : 0;
		p[i].base = i ? p[i - 1].end : 0;
		at += take_part(&p[i], tip, data + at, size - at);
	}
	if (tip < 0)
		return 0;
	before = flat(top, tip);
	for (int give_up = 0; give_up < 2; give_up++) {
		dedup(tip, give_up);
		if (before && flat(top, tip) != before)
			abort();
	}
	close(tip);
	return 0;
}

#ifdef STANDALONE
static void put_part(const char *dir)
{
	char path[4096];
	FILE *text[2] = { tmpfile(), tmpfile() };
	uint8_t head[4] = { PARENT | SUMS };
	static const char *const name[] = { CKPT_IMAGE_NAME, CKPT_GIVEN_UP_NAME };
	struct stat st = { 0 };

	snprintf(path, sizeof(path), "%s/" CKPT_GIVEN_UP_NAME, dir);
	head[0] |= access(path, R_OK) == 0 ? GIVEN_UP | HEIR : 0;
	snprintf(path, sizeof(path), "%s/" CKPT_PAGES_NAME, dir);
	stat(path, &st);
	head[0] |= st.st_size / 4096 >= 256 ? MANY : 0;
	head[1] = st.st_size / 4096;

	for (int k = 0; k < 2 && text[k]; k++) {
		static uint8_t buf[65536];
		uint16_t len;

		snprintf(path, sizeof(path), "%s/%s", dir, name[k]);
		if (access(path, R_OK) < 0)
			break;
		put_input(fileno(text[k]), path, 60000);
		len = pread(fileno(text[k]), buf, sizeof(buf), 0);
		memcpy(head + 2, &len, 2);
		put(1, k ? head + 2 : head, k ? 2 : 4);
		put(1, buf, len);
		fclose(text[k]);
	}
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "--input")) {
		for (int i = 2; i < argc; i++)
			put_part(argv[i]);
		return 0;
	}
	return run_inputs(argc, argv);
}
#endif
