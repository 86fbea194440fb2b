/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libFuzzer target: what a peer sends, to who receives an image, to a page server and to who has
 * asked for chunks; the first byte says to whom. The rest are frames of a stream, each: type, at in
 * two bytes, pages that it becomes, method, length in two, content; header, checksums and end are
 * made here. tests/unit/test-peer.c throws random changes at it. With -DSTANDALONE it runs inputs.
 */
#include <dirent.h>
#include <errno.h>
#include "engine/store/codec.h"
#include "engine/store/image-inside.h"
#include "engine/store/page-server.h"
#include "engine/store/stream.h"
#include "tests/fuzz/framing.h"

#define ARENA_MOST (256ul << 20)

enum { RECEIVER, SERVER, ASKER, READERS };

struct making {
	int fd; /* in memory */
	struct ckpt_codec codec;
	uint64_t n;
	uint32_t sum;
};

/* Content that is too short is repeated. */
static void fill(unsigned char *out, size_t raw, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < raw; i++)
		out[i] = len ? data[i % len] : 0;
}

static void put_frame(struct making *m, struct ckpt_frame *f, const void *data)
{
	f->check = ckpt_frame_check(f, data);
	put(m->fd, f, sizeof(*f));
	put(m->fd, data, f->length);
	if (f->type != CKPT_FRAME_END)
		m->sum = ckpt_crc32c(m->sum, &f->check, sizeof(f->check));
	m->n++;
}

static size_t take_frame(struct making *m, const uint8_t *data, size_t size)
{
	static unsigned char out[CKPT_CHUNK];
	struct ckpt_frame f = { .type = data[0], .at = data[1] | data[2] << 8, .method = data[4] };
	size_t len = data[5] | data[6] << 8;

	len = len < size - 7 ? len : size - 7;
	f.raw = data[3] * CKPT_PAGE;
	f.length = len;
	if (f.method == CKPT__CHUNKS__METHOD__PLAIN) {
		f.raw = f.type == CKPT_FRAME_CHUNK ? f.raw : len;
		f.length = f.raw;
		fill(out, f.raw, data + 7, len);
		f.sum = ckpt_crc32c(0, out, f.raw);
		put_frame(m, &f, out);
		return 7 + len;
	}
	if (ckpt_decompress(&m->codec, f.method, data + 7, len, out, f.raw))
		f.sum = ckpt_crc32c(0, out, f.raw);
	put_frame(m, &f, data + 7);
	return 7 + len;
}

static int make_stream(const uint8_t *data, size_t size)
{
	struct ckpt_image_header head = { CKPT_STREAM_MAGIC, CKPT_STREAM_FORMAT, 0 };
	struct making m = { .fd = memfd_create("fuzz", MFD_CLOEXEC) };
	struct ckpt_frame end = { .type = CKPT_FRAME_END };

	head.crc = ckpt_crc32c(0, &head, 12);
	put(m.fd, &head, sizeof(head));
	while (size >= 7) {
		size_t n = take_frame(&m, data, size);

		data += n;
		size -= n;
	}
	end.at = m.n;
	end.sum = m.sum;
	put_frame(&m, &end, NULL);
	ckpt_codec_close(&m.codec);
	return m.fd;
}

static int receive(int fd, struct ckpt_arena *arena, struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true };
	struct ckpt_snapshot *snap;
	struct ckpt_received got;
	struct ckpt_image *img;
	int r = ckpt_stream_receive(&got, fd, "a peer", &opts, err);

	if (r >= 0) {
		r = ckpt_image_adopt(&img, arena, &got, -1, "a peer", err);
		if (r >= 0)
			r = ckpt_image_load_any(img, &snap, err);
		ckpt_image_close(img);
	}
	ckpt_received_close(&got);
	return r;
}

static bool is_empty(int dirfd)
{
	DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *e;
	bool empty = true;

	while (dir && (e = readdir(dir)))
		empty &= e->d_name[0] == '.';
	if (dir)
		closedir(dir);
	return empty;
}

/* What it keeps is an image; of what it refuses nothing is left. */
static int serve(int fd, struct ckpt_arena *arena, struct ckpt_err *err)
{
	struct ckpt_talk t = { .to = open("/dev/null", O_WRONLY), .from = fd, .where = "a peer" };
	int dir = fuzz_folder(), r;
	struct ckpt_taker k;
	struct ckpt_image *img;
	uint64_t bytes;

	put(fd, "keep\n", 5);
	lseek(fd, 0, SEEK_SET);
	r = ckpt_taker_open(&k, arena, dir, "here", NULL, err);
	if (r >= 0)
		r = ckpt_taker_take(&k, &t, &bytes, err);
	ckpt_taker_close(&k);
	close(t.to);
	if (r < 0 && !is_empty(dir))
		abort();
	if (r >= 0 && ckpt_image_open(&img, arena, dir, "here", err) < 0)
		abort();
	if (r >= 0)
		ckpt_image_close(img);
	ckpt_image_remove(dir, true);
	return r;
}

static bool wanted(void *arg, uint64_t chunk, uint32_t sum)
{
	(void)arg, (void)sum;
	return chunk < 4;
}

static int ask(int fd, struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true, .wanted = wanted };
	struct ckpt_received got = { .image_fd = -1,
				     .pages_fd = memfd_create("pages", MFD_CLOEXEC) };
	struct ckpt_stream_in *in = ckpt_stream_in_open(&got, fd, "a peer", &opts, err);
	uint64_t chunk;
	int r = in ? 0 : -ENOMEM;

	while (r >= 0)
		r = ckpt_stream_in_next(in, &chunk, err);
	ckpt_stream_in_close(in);
	ckpt_received_close(&got);
	return r;
}

/* What the peer is answered: 0, or why not. */
static int throw(const uint8_t *data, size_t size)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	int fd = make_stream(data + 1, size - 1), r;

	if (ckpt_arena_open(&arena, ARENA_MOST, &err) < 0)
		abort();
	lseek(fd, 0, data[0] % READERS == SERVER ? SEEK_END : SEEK_SET);
	r = data[0] % READERS == RECEIVER ? receive(fd, arena, &err) :
	    data[0] % READERS == SERVER   ? serve(fd, arena, &err) :
					    ask(fd, &err);
	if (r < 0 && !err.text[0])
		abort();
	ckpt_arena_close(arena);
	close(fd);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size)
		throw(data, size);
	return 0;
}

#ifdef STANDALONE
int main(int argc, char **argv)
{
	return run_inputs(argc, argv);
}
#endif
