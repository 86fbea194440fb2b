/* SPDX-License-Identifier: Apache-2.0 */
/* Images that go on from each other: where each byte of the chain is, and what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/store/dedup.h"
#include "engine/store/image.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

#define N 3

static struct ckpt_err err;
static struct ckpt_arena *arena;
static int top; /* the folder that has the others in it */

static int folder(int i)
{
	char name[8];

	snprintf(name, sizeof(name), "%d", i);
	mkdirat(top, name, 0700);
	return openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Pages of I all through; on top of I - 1, but with ID and BASE. FROM: the run of its process. */
static int write_one(int i, const char *method, uint64_t id, uint64_t base, uint64_t from)
{
	struct ckpt_snapshot *snap = sample_small(arena);
	struct ckpt_image_how how = { 0 };
	struct ckpt_image_writer *w;
	char pages[SAMPLE_PAGES], before[8];
	uint64_t bytes;
	uint32_t crc;
	int fd = folder(i), r;

	memset(pages, 'a' + i, sizeof(pages));
	crc = ckpt_crc32c(0, pages, sizeof(pages));
	err = (struct ckpt_err)CKPT_ERR_INIT;
	snprintf(before, sizeof(before), "../%d", i - 1);
	ckpt_compression_parse(method, &how.compress);
	how.later = true;
	r = ckpt_image_create_as(&w, arena, fd, "top", &how, &err);
	if (r >= 0)
		r = ckpt_image_put_pages(w, pages, sizeof(pages), 0, &err);
	if (r >= 0 && i)
		r = ckpt_image_set_parent(w, before, id, base, &err);
	if (r >= 0) {
		struct ckpt_pages *p = &snap->tasks[0]->pages;

		for (size_t k = 0; k < p->n; k++) {
			p->run[k].offset = from;
			from += p->run[k].n_pages * CKPT_PAGE;
		}
		ckpt_image_set_checksums(w, sizeof(pages), &crc, 1);
		r = ckpt_image_commit(w, snap, &bytes, &err);
	}
	ckpt_image_writer_close(w);
	close(fd);
	return r;
}

static int open_one(int i, struct ckpt_image **imgp)
{
	char name[16];
	int fd = folder(i), r;

	err = (struct ckpt_err)CKPT_ERR_INIT;
	snprintf(name, sizeof(name), "top/%d", i);
	r = ckpt_image_open(imgp, arena, fd, name, &err);
	close(fd);
	return r;
}

static void add(int i, const char *method)
{
	struct ckpt_image *before = NULL;

	if (i && open_one(i - 1, &before) < 0)
		exit(1);
	must(write_one(i, method, i ? ckpt_image_content_id(before) : 0,
		       i ? ckpt_image_next_base(before) : 0, i * (uint64_t)CKPT_CHUNK) == 0,
	     "image %d: %s", i, err.text);
	ckpt_image_close(before);
}

static void forget(int i)
{
	int fd = folder(i);

	ckpt_image_remove(fd, true);
	unlinkat(fd, CKPT_PARENT_LINK, 0);
	close(fd);
}

static void remove_one(int i)
{
	char name[8];

	forget(i);
	snprintf(name, sizeof(name), "%d", i);
	unlinkat(top, name, AT_REMOVEDIR);
}

static void offsets(void)
{
	struct ckpt_pages_part *part;
	size_t n;
	struct ckpt_snapshot *snap;
	struct ckpt_image *img;
	static char buf[CKPT_CHUNK];

	is(open_one(N - 1, &img), 0, "the chain opens");
	is(ckpt_image_depth(img), N - 1, "it goes on from two");
	is(ckpt_image_base(img), (N - 1) * (long long)CKPT_CHUNK,
	   "its pages begin at a whole chunk");
	is(ckpt_image_end(img), ckpt_image_base(img) + SAMPLE_PAGES, "and end with its file");
	is(ckpt_image_next_base(img), N * (long long)CKPT_CHUNK, "the next begins behind that");
	is(ckpt_image_n_chunks(img), N, "chunks are counted through all");
	for (int i = 0; i < N; i++) {
		const struct ckpt_image *of = ckpt_image_of(img, i * (uint64_t)CKPT_CHUNK + 1);

		is(ckpt_image_base(of), i * (long long)CKPT_CHUNK, "its image has its bytes");
		is(ckpt_image_verify_chunk(img, i, &err), 0, "its chunk is sound");
	}
	is(ckpt_image_load(img, &snap, &err), 0, "it loads");
	is(ckpt_image_verify_pages(img, 2, &err), 0, "all of it is sound");
	is(ckpt_image_unpack(img, NULL, 2, &err), 0, "it is unpacked");
	part = ckpt_image_parts(img, &n);
	is(n, N, "three files");
	for (int i = 0; i < N; i++) {
		is(ckpt_image_read_chunk(img, i, buf, &err), 0, "a chunk is read");
		ok(buf[0] == 'a' + i && buf[SAMPLE_PAGES - 1] == 'a' + i, "and is of image %d", i);
		ok(part[i].base == i * (uint64_t)CKPT_CHUNK && part[i].fd >= 0 &&
			   pread(part[i].fd, buf, 1, 0) == 1 && buf[0] == 'a' + i,
		   "file %d begins there", i);
	}
	ckpt_image_close(img);
}

/* ---- what is given up ---- */

static int dedup(bool give_up, struct ckpt_dedup_done **donep, size_t *np)
{
	const struct ckpt_dedup_opts opts = { .give_up_parents = give_up };
	struct ckpt_image *img;
	int fd = folder(N - 1), r;

	err = (struct ckpt_err)CKPT_ERR_INIT;
	r = ckpt_image_open_whole(&img, arena, fd, "top/2", &err);
	if (r >= 0)
		r = ckpt_image_dedup(img, &opts, arena, donep, np, &err);
	ckpt_image_close(img);
	close(fd);
	return r;
}

/* Every byte of the record of image I, changed and changed back. */
static void flip_record(int i)
{
	int dir = folder(i), fd = openat(dir, "given-up", O_RDWR), n = 0, found = 0;
	struct ckpt_image *img;
	unsigned char c;

	for (; pread(fd, &c, 1, n) == 1; n++) {
		c ^= 0x10;
		must(pwrite(fd, &c, 1, n) == 1, "a byte");
		found += open_one(N - 1, &img) < 0 && err.number;
		ckpt_image_close(img);
		c ^= 0x10;
		must(pwrite(fd, &c, 1, n) == 1, "a byte");
	}
	is(found, n, "every changed byte of the record is found");
	is(open_one(N - 1, &img), 0, "and is changed back");
	ckpt_image_close(img);
	close(fd);
	close(dir);
}

/* Contents of files are those of the first image in all of them. */
static uint64_t lost(int i)
{
	return SAMPLE_PAGES - (i ? 0 : 2 * CKPT_PAGE);
}

static void given_up(void)
{
	struct ckpt_dedup_done *done;
	struct ckpt_snapshot *snap;
	struct ckpt_image *img;
	size_t n;

	is(dedup(false, &done, &n), 0, "what can be restored stays");
	for (size_t i = 0; i < N - 1; i++)
		ok(done[i].whole && !done[i].freed && done[i].more == lost(N - 2 - i),
		   "%s: as it was", done[i].folder);
	is(dedup(true, &done, &n), 0, "unless it is given up");
	is(n, N - 1, "two images");
	is(open_one(N - 1, &img), 0, "the last one opens");
	is(ckpt_image_load(img, &snap, &err), 0, "loads");
	is(ckpt_image_verify_pages(img, 2, &err), 0, "and all is sound");
	is(ckpt_image_unpack(img, NULL, 2, &err), 0, "is unpacked");
	ckpt_image_close(img);
	for (int i = 0; i < N - 1; i++) {
		is(open_one(i, &img), 0, "one before it opens");
		is(ckpt_image_given_up(img, NULL), lost(i), "has given up what it alone needs");
		ok(ckpt_image_load(img, &snap, &err) < 0 && err.number == CKPT_E_GIVEN_UP,
		   "which is said: %s", err.text);
		ckpt_image_close(img);
		flip_record(i);
	}
	for (int i = 0; i < N - 1; i++) {
		int dir = folder(i);

		unlinkat(dir, "given-up", 0);
		close(dir);
	}
}

/* The last image, made again on top of BEFORE. */
static void refused(uint64_t id, uint64_t base, uint64_t from, enum ckpt_code number,
		    const char *what)
{
	struct ckpt_snapshot *snap;
	struct ckpt_image *img = NULL;
	int r;

	forget(N - 1);
	must(write_one(N - 1, "none", id, base, from) == 0, "%s: written: %s", what, err.text);
	r = open_one(N - 1, &img);
	if (r >= 0)
		r = ckpt_image_load(img, &snap, &err);
	ok(r < 0 && err.number == number, "%s: refused: %s", what, err.text);
	ckpt_image_close(img);
}

static void made_up(void)
{
	const uint64_t base = (N - 1) * (uint64_t)CKPT_CHUNK;
	struct ckpt_image *before, *img;
	uint64_t id;

	must(open_one(N - 2, &before) == 0, "the one before");
	id = ckpt_image_content_id(before);
	ckpt_image_close(before);
	refused(id + 1, base, base, CKPT_E_PARENT_OTHER, "another image");
	refused(id, base + CKPT_CHUNK, base, CKPT_E_IMAGE_DAMAGED, "it begins too late");
	refused(id, base - CKPT_CHUNK, 0, CKPT_E_IMAGE_DAMAGED, "it begins too early");
	refused(id, base, base - CKPT_CHUNK + SAMPLE_PAGES, CKPT_E_IMAGE_DAMAGED,
		"pages between two images");
	refused(id, base, base - CKPT_PAGE, CKPT_E_IMAGE_DAMAGED, "pages that begin there");
	refused(id, base, base - CKPT_CHUNK + SAMPLE_PAGES - CKPT_PAGE, CKPT_E_IMAGE_DAMAGED,
		"pages that end there");
	forget(N - 1);
	must(write_one(N - 1, "none", id, base, 0) == 0, "pages of the first image: %s", err.text);
	is(open_one(N - 1, &img), 0, "it opens");
	ckpt_image_close(img);
	forget(0);
	ok(open_one(N - 1, &img) < 0 && err.number == CKPT_E_PARENT_MISSING, "one is missing: %s",
	   err.text);
}

/* No dump makes one: it would be a whole image. */
static void too_long(void)
{
	struct ckpt_image *img;
	char line[1200];

	for (int i = 0; i <= CKPT_CHAIN_MAX + 1; i++)
		add(i, "none");
	is(open_one(CKPT_CHAIN_MAX, &img), 0, "the longest one opens");
	is(ckpt_image_depth(img), CKPT_CHAIN_MAX, "it goes on from so many");
	ckpt_image_close(img);
	ok(open_one(CKPT_CHAIN_MAX + 1, &img) < 0 && err.number == CKPT_E_CHAIN_LONG,
	   "a longer one is refused: %s", err.text);
	ckpt_err_sentence(&err, line, sizeof(line));
	ok(strstr(line, ": more than 100 images go on from each other; make one image of it with "
			"ckpt flatten, "),
	   "and it is said what can be done");
	for (int i = 0; i <= CKPT_CHAIN_MAX + 1; i++)
		remove_one(i);
}

int main(void)
{
	static const char *const method[] = { "none", "lz4", "zstd" };
	char name[32];

	must(ckpt_arena_open(&arena, 512 << 20, &err) == 0, "an arena opens");
	top = sample_folder(name);
	for (int i = 0; i < N; i++)
		add(i, method[i]);
	offsets();
	given_up();
	made_up();
	for (int i = 0; i < N; i++)
		remove_one(i);
	too_long();
	sample_folder_remove(top, name);
	ckpt_arena_close(arena);
	return tap_end();
}
