/* SPDX-License-Identifier: Apache-2.0 */
/* Packed images and streams: the pages come back as they were, in little space; and what is damaged
 * or made up is refused. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/store/image-inside.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

#define CHUNKS 6
#define SIZE ((CHUNKS - 1) * (uint64_t)CKPT_CHUNK + 3 * CKPT_PAGE)

static struct ckpt_arena *arena;
static struct ckpt_err err;
static unsigned char *pages;
static uint32_t crc[CHUNKS];

/* Text, zeroes, noise, the same text again, noise, a piece of text. */
static void make_pages(void)
{
	static const char words[] = "so much that is the same, and then a little more of it; ";
	uint64_t x = 88172645463325252ull;

	pages = calloc(1, SIZE);
	for (uint64_t i = 0; i < SIZE; i++) {
		uint64_t chunk = i / CKPT_CHUNK;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		if (chunk % 3 == 2 || chunk == 4)
			pages[i] = chunk == 5 ? (uint64_t)words[i % (sizeof(words) - 1)] : x;
		else if (chunk != 1)
			pages[i] = words[i % CKPT_CHUNK % (sizeof(words) - 1)];
	}
	for (uint64_t i = 0; i < CHUNKS; i++)
		crc[i] = ckpt_crc32c(0, pages + i * CKPT_CHUNK,
				     i < CHUNKS - 1 ? CKPT_CHUNK : SIZE % CKPT_CHUNK);
}

static int write_pages(struct ckpt_image_writer *w)
{
	struct ckpt_pack *pack = ckpt_image_writer_pack(w);
	int r = 0;

	if (!pack)
		return pwrite(ckpt_image_writer_files(w)->part[0].fd, pages, SIZE, 0) ==
				       (ssize_t)SIZE ?
			       0 :
			       -EIO;
	for (uint64_t i = 0; r >= 0 && i < CHUNKS; i++)
		r = ckpt_pack_put(pack, i, pages + i * CKPT_CHUNK,
				  i < CHUNKS - 1 ? CKPT_CHUNK : SIZE % CKPT_CHUNK, crc[i], &err);
	return r;
}

static int write_image(int fd, const char *method, bool later, uint64_t *bytesp)
{
	struct ckpt_image_how how = { .later = later };
	struct ckpt_image_writer *w;
	int r;

	if (!ckpt_compression_parse(method, &how.compress))
		return -EINVAL;
	r = ckpt_image_create_as(&w, arena, fd, "dir", &how, &err);
	if (r >= 0)
		r = write_pages(w);
	if (r < 0)
		return r;
	ckpt_image_set_checksums(w, SIZE, crc, CHUNKS);
	r = ckpt_image_commit(w, sample_small(arena), bytesp, &err);
	ckpt_image_writer_close(w);
	return r;
}

static bool same_here_and_there(struct ckpt_image *img)
{
	static const uint64_t at[] = { 0, 4 * CKPT_CHUNK + 77, CKPT_CHUNK, 5 * CKPT_CHUNK, 99 };
	unsigned char buf[1000];

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		ssize_t n = ckpt_image_read(img, buf, sizeof(buf), at[i], &err);

		if (n != sizeof(buf) || memcmp(buf, pages + at[i], n))
			return false;
	}
	return ckpt_image_read(img, buf, sizeof(buf), SIZE, &err) < 0;
}

static bool same_pages(struct ckpt_image *img)
{
	unsigned char *buf = malloc(SIZE);
	bool same = pread(ckpt_image_files(img)->part[0].fd, buf, SIZE, 0) == (ssize_t)SIZE &&
		    !memcmp(buf, pages, SIZE);

	free(buf);
	return same;
}

static void packed(const char *method, bool later)
{
	struct ckpt_image *img = NULL;
	uint64_t bytes = 0;
	struct stat st;
	char name[32];
	int fd = sample_folder(name), full;

	ok(write_image(fd, method, later, &bytes) == 0, "%s: an image%s", method,
	   later ? ", packed at the end" : "");
	ok(fstatat(fd, "pages", &st, 0) == 0 && st.st_size < (off_t)(2 * CKPT_CHUNK + 100000),
	   "noise alone takes its place: %lld bytes", (long long)st.st_size);
	must(ckpt_image_open(&img, arena, fd, "dir", &err) >= 0, "it opens %s", err.text);
	is(ckpt_image_bytes(img), bytes, "its size is told the same by writer and reader");
	is(ckpt_image_pages_size(img), SIZE, "the pages have theirs");
	is(ckpt_image_verify_pages(img, 3, &err), 0, "they are sound");
	is(ckpt_image_is_packed(img), true, "and packed");
	is(same_here_and_there(img), true, "they can be read here and there");
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ok(ckpt_image_copy_pages(img, full, NULL, 2, &err) == -ENOSPC &&
		   err.number == CKPT_E_NO_UNPACK_ROOM && strstr(err.text, ": no room to unpack"),
	   "where there is no room: %s", err.text);
	close(full);
	is(ckpt_image_unpack(img, NULL, 3, &err), 0, "they are unpacked");
	is(same_pages(img), true, "and are as they were");
	ckpt_image_close(img);
	sample_folder_remove(fd, name);
}

/* ---- made up ---- */

static int read_back(int fd)
{
	struct ckpt_arena *small;
	struct ckpt_snapshot *snap;
	struct ckpt_image *img = NULL;
	int r;

	if (ckpt_arena_open(&small, 64 << 20, &err) < 0)
		return -ENOMEM;
	err = (struct ckpt_err)CKPT_ERR_INIT;
	r = ckpt_image_open(&img, small, fd, "dir", &err);
	if (r >= 0)
		r = ckpt_image_load(img, &snap, &err);
	if (r >= 0)
		r = ckpt_image_unpack(img, NULL, 2, &err);
	ckpt_image_close(img);
	ckpt_arena_close(small);
	return r;
}

/* An image of one chunk, said to be where MSG says. */
static int hand(Ckpt__Chunks *msg, uint32_t format, const void *data, size_t len)
{
	Ckpt__Checksums sums = CKPT__CHECKSUMS__INIT;
	Ckpt__Trailer trailer = CKPT__TRAILER__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;
	struct ckpt_record_out out;
	char name[32];
	int dirfd = sample_folder(name), fd = openat(dirfd, "image", O_CREAT | O_RDWR, 0600),
	    file = openat(dirfd, "pages", O_CREAT | O_RDWR, 0600), r;

	must(write(file, data, len) == (ssize_t)len, "pages by hand");
	must(ckpt_record_out_open(&out, fd, "dir", &err) == 0, "an image by hand");
	ckpt_record_out_format(&out, format);
	ckpt_snapshot_write(&out, sample_small(arena), arena, &err);
	rec.kind = (char *)"chunks";
	if (msg)
		ckpt_record_write(&out, &rec, &msg->base, &err);
	sums.size = CKPT_CHUNK;
	sums.chunk = CKPT_CHUNK;
	sums.n_crc = 1;
	sums.crc = crc;
	rec.kind = (char *)"checksums";
	ckpt_record_write(&out, &rec, &sums.base, &err);
	trailer.n_records = out.chain.n_records;
	trailer.crc = out.chain.crc;
	trailer.content_id = out.chain.content_id;
	rec.kind = (char *)"trailer";
	ckpt_record_write(&out, &rec, &trailer.base, &err);
	ckpt_record_out_flush(&out, &err);
	ckpt_record_out_close(&out);
	close(fd);
	close(file);
	r = read_back(dirfd);
	sample_folder_remove(dirfd, name);
	return r;
}

static void refused(Ckpt__Chunks *msg, uint32_t format, const char *what)
{
	int r = hand(msg, format, pages, CKPT_CHUNK);

	ok(r < 0 && err.number == CKPT_E_IMAGE_DAMAGED, "%s: %s", what,
	   r < 0 ? err.text : "accepted");
}

static void made_up(void)
{
	uint32_t method[] = { 1, 1 }, length[] = { CKPT_CHUNK, CKPT_CHUNK };
	uint32_t sum[] = { crc[0], crc[0] };
	uint64_t offset[] = { 0, 0 };
	Ckpt__Chunks good = CKPT__CHUNKS__INIT, c;

	good.stored = CKPT_CHUNK;
	good.n_method = good.n_offset = good.n_length = good.n_crc = 1;
	good.crc = sum;
	good.method = method;
	good.offset = offset;
	good.length = length;
	ok(hand(&good, 2, pages, CKPT_CHUNK) == 0, "a table made by hand %s", err.text);
	refused(&good, 1, "in the plain format");
	refused(NULL, 2, "none");
	c = good, c.n_method = c.n_offset = c.n_length = c.n_crc = 2;
	refused(&c, 2, "more chunks than checksums");
	c = good, c.n_offset = 0;
	refused(&c, 2, "a chunk without a place");
	c = good, c.stored--;
	refused(&c, 2, "a chunk that ends behind the file");
	c = good, c.offset = (uint64_t[]){ UINT64_MAX };
	refused(&c, 2, "one that begins there");
	c = good, c.stored = UINT64_MAX;
	refused(&c, 2, "a file without end");
	c = good, c.length = (uint32_t[]){ UINT32_MAX };
	refused(&c, 2, "one that is too long");
	c = good, c.method = (uint32_t[]){ 4 };
	refused(&c, 2, "an unknown method");
	for (uint32_t m = 0; m < 4; m++) {
		uint32_t len = m == 1 ? 4096 : CKPT_CHUNK;

		c = good, c.method = &m, c.length = &len;
		c.crc = (uint32_t[]){ ckpt_crc32c(0, pages, len) };
		refused(&c, 2, "bytes that are not of that method");
	}
	c = good, c.crc = (uint32_t[]){ crc[0] + 1 };
	refused(&c, 2, "another checksum of what is stored");
	length[0] = sum[0] = 0;
	c = good, c.method = (uint32_t[]){ 0 };
	refused(&c, 2, "zeroes where there were none");
}

/* ---- streams ---- */

static bool stream_refused(int fd)
{
	static const enum ckpt_code good[] = { CKPT_E_IMAGE_DAMAGED, CKPT_E_IMAGE_FOREIGN,
					       CKPT_E_STREAM_CUT };

	lseek(fd, 0, SEEK_SET);
	if (read_back(fd) >= 0)
		return false;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (err.number == good[i])
			return true;
	return false;
}

static void stream_damage(int fd, off_t size, off_t step)
{
	unsigned int missed = 0;

	for (off_t at = 0; at < size; at += at < 300 || at > size - 300 ? 1 : step) {
		unsigned char c, flipped;

		if (pread(fd, &c, 1, at) != 1)
			exit(1);
		flipped = c ^ 1 << at % 8;
		if (pwrite(fd, &flipped, 1, at) != 1 || !stream_refused(fd)) {
			diag("byte %lld flipped: %s", (long long)at, err.text);
			missed++;
		}
		if (pwrite(fd, &c, 1, at) != 1)
			exit(1);
	}
	is(missed, 0, "flipped bytes are found");
	missed = 0;
	ok(ftruncate(fd, size + 1) == 0 && stream_refused(fd), "a byte more: %s", err.text);
	for (off_t at = size - 1; at >= 0; at -= at > size - 300 ? 1 : step)
		if (ftruncate(fd, at) < 0 || !stream_refused(fd)) {
			diag("cut at byte %lld: %s", (long long)at, err.text);
			missed++;
		}
	is(missed, 0, "cuts are found");
}

static void streamed(const char *method, bool later)
{
	int fd = memfd_create("stream", 0);
	struct ckpt_image *img = NULL;
	uint64_t bytes = 0;
	off_t size;

	ok(write_image(fd, method, later, &bytes) == 0, "%s: a stream %s", method, err.text);
	size = lseek(fd, 0, SEEK_END);
	is(bytes, (uint64_t)size, "its size is told");
	lseek(fd, 0, SEEK_SET);
	must(ckpt_image_open(&img, arena, fd, "stream", &err) >= 0, "it is read %s", err.text);
	is(ckpt_image_unpack(img, NULL, 2, &err), 0, "nothing is to be unpacked");
	is(same_pages(img), true, "the pages are as they were");
	ckpt_image_close(img);
	lseek(fd, 0, SEEK_SET);
	must(ckpt_image_open_brief(&img, arena, fd, "stream", &err) >= 0, "it is looked at");
	is(ckpt_image_files(img)->n, 0, "and its pages not kept");
	ckpt_image_close(img);
	stream_damage(fd, size, 150001);
	close(fd);
}

/* A frame made up, with the right checks. */
static void bad_frame(struct ckpt_frame f, const char *what)
{
	struct ckpt_image_header head = { CKPT_STREAM_MAGIC, CKPT_STREAM_FORMAT, 0 };
	int fd = memfd_create("stream", 0), r;

	head.crc = ckpt_crc32c(0, &head, offsetof(struct ckpt_image_header, crc));
	f.check = f.length <= CKPT_PAGE ? ckpt_frame_check(&f, pages) : 0;
	must(write(fd, &head, sizeof(head)) == sizeof(head) &&
		     write(fd, &f, sizeof(f)) == sizeof(f) &&
		     write(fd, pages, CKPT_PAGE) == CKPT_PAGE,
	     "a stream by hand");
	lseek(fd, 0, SEEK_SET);
	r = read_back(fd);
	ok(r < 0 && (err.number == CKPT_E_IMAGE_DAMAGED || err.number == CKPT_E_IMAGE_NEWER),
	   "%s: %s", what, err.text);
	close(fd);
}

static void bad_frames(void)
{
	const struct ckpt_frame good = { 0,
					 CKPT_FRAME_CHUNK,
					 0,
					 CKPT_PAGE,
					 CKPT_PAGE,
					 ckpt_crc32c(0, pages, CKPT_PAGE),
					 CKPT__CHUNKS__METHOD__PLAIN };
	struct ckpt_frame f;

	f = good, f.at = UINT64_MAX / CKPT_CHUNK;
	bad_frame(f, "a chunk that is far away");
	f = good, f.length = UINT32_MAX;
	bad_frame(f, "a frame that is too long");
	f = good, f.raw = UINT32_MAX;
	bad_frame(f, "one that gets too long");
	f = good, f.raw = 0;
	bad_frame(f, "one of nothing");
	f = good, f.method = CKPT__CHUNKS__METHOD__ZSTD;
	bad_frame(f, "one that is not compressed");
	f = good, f.sum++;
	bad_frame(f, "one with another content");
	f = good, f.type = 9;
	bad_frame(f, "one of a later version");
	f = good, f.type = CKPT_FRAME_IMAGE, f.at = 1;
	bad_frame(f, "an image without its beginning");
	f = good, f.type = CKPT_FRAME_END, f.length = 0;
	bad_frame(f, "an end in the beginning");
}

int main(void)
{
	must(ckpt_arena_open(&arena, 256 << 20, &err) == 0, "an arena opens");
	signal(SIGPIPE, SIG_IGN);
	make_pages();
	packed("lz4", false);
	packed("lz4:8", true);
	packed("zstd", true);
	packed("zstd:1", false);
	made_up();
	streamed("none", false);
	streamed("zstd", true);
	streamed("lz4", false);
	bad_frames();
	free(pages);
	ckpt_arena_close(arena);
	return tap_end();
}
