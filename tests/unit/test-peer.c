/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from a peer, changed at random and made a stream with right checksums again: whoever
 * receives it refuses it with a reason or has an image, and keeps no descriptor. $FUZZ_ROUNDS of
 * them.
 */
#include "tests/fuzz/fuzz-peer.c"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

#define MOST (256u << 10)

static uint8_t valid[MOST], changed[MOST];
static size_t n_valid = 1;

static void add_frame(uint8_t type, uint8_t n_pages, int fd)
{
	size_t at = n_valid, len = lseek(fd, 0, SEEK_END);

	valid[at] = type;
	valid[at + 3] = n_pages;
	valid[at + 4] = CKPT__CHUNKS__METHOD__PLAIN;
	valid[at + 5] = len;
	valid[at + 6] = len >> 8;
	if (len > 65535 || pread(fd, valid + at + 7, len, 0) != (ssize_t)len)
		exit(1);
	n_valid += 7 + len;
	close(fd);
}

static void make_valid(int dirfd)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;

	must(ckpt_arena_open(&arena, ARENA_MOST, &err) >= 0 &&
		     sample_write(arena, sample_small(arena), dirfd, &err) >= 0,
	     "an image to send");
	add_frame(CKPT_FRAME_CHUNK, SAMPLE_PAGES / CKPT_PAGE, openat(dirfd, "pages", O_RDONLY));
	add_frame(CKPT_FRAME_IMAGE, 0, openat(dirfd, "image", O_RDONLY));
	ckpt_arena_close(arena);
	ckpt_image_remove(dirfd, true);
}

/* Mostly a few bytes; also frames that come twice, are cut or missing. */
static size_t change(unsigned int *seed)
{
	size_t n = n_valid, from, len;

	memcpy(changed, valid, n);
	for (int i = rand_r(seed) % 4; i >= 0; i--)
		changed[rand_r(seed) % (rand_r(seed) % 2 ? n : 64)] = rand_r(seed);
	from = rand_r(seed) % n;
	len = rand_r(seed) % (n - from);
	if (rand_r(seed) % 8 == 0)
		n = from + 1;
	else if (rand_r(seed) % 8 == 0 && n + len <= MOST)
		memcpy(changed + n, valid + from, len), n += len;
	changed[0] = rand_r(seed);
	return n;
}

int main(void)
{
	long rounds = getenv("FUZZ_ROUNDS") ? atol(getenv("FUZZ_ROUNDS")) : 500, taken = 0;
	unsigned int seed = 1;
	char name[32];
	int dirfd = sample_folder(name), before;

	setenv("FUZZ_DIR", name, 1);
	make_valid(dirfd);
	fuzz_folder();
	for (valid[0] = RECEIVER; valid[0] <= SERVER; valid[0]++)
		is(throw(valid, n_valid), 0, "what is right is taken");
	before = dup(dirfd);
	close(before);
	for (long i = 0; i < rounds; i++)
		taken += throw(changed, change(&seed)) >= 0;
	ok(taken < rounds, "%ld of %ld changed streams are taken", taken, rounds);
	is(dup(dirfd), before, "no descriptor is left open");
	sample_folder_remove(dirfd, name);
	return tap_end();
}
