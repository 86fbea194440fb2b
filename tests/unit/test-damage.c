/* SPDX-License-Identifier: Apache-2.0 */
/* Every flipped bit, every cut and every byte too many of a small image is found, and named as
 * damage. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

static struct ckpt_err err;

/* Reads all of it: 0, or the refusal. */
static int read_back(int dirfd)
{
	struct ckpt_snapshot *snap;
	struct ckpt_arena *arena;
	struct ckpt_image *img = NULL;
	int r;

	if (ckpt_arena_open(&arena, 64 << 20, &err) < 0)
		return -ENOMEM;
	err = (struct ckpt_err)CKPT_ERR_INIT;
	r = ckpt_image_open(&img, arena, dirfd, "dir", &err);
	if (r >= 0)
		r = ckpt_image_load(img, &snap, &err);
	if (r >= 0)
		r = ckpt_image_verify_pages(img, 2, &err);
	ckpt_image_close(img);
	ckpt_arena_close(arena);
	return r;
}

static bool found(int dirfd)
{
	return read_back(dirfd) < 0 &&
	       (err.number == CKPT_E_IMAGE_DAMAGED || err.number == CKPT_E_IMAGE_FOREIGN);
}

static void flips(int dirfd, const char *file, unsigned int step)
{
	int fd = openat(dirfd, file, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);
	unsigned int missed = 0, tried = 0;

	for (off_t at = 0; at < size; at++) {
		unsigned char c, flipped;

		if (pread(fd, &c, 1, at) != 1)
			exit(1);
		for (unsigned int bit = at % step; bit < 8; bit += step, tried++) {
			flipped = c ^ 1u << bit;
			if (pwrite(fd, &flipped, 1, at) != 1 || !found(dirfd)) {
				diag("%s: bit %u of byte %lld: %d %s", file, bit, (long long)at,
				     err.number, err.text);
				missed++;
			}
		}
		flipped = ~c;
		if (pwrite(fd, &flipped, 1, at) != 1 || !found(dirfd) || pwrite(fd, &c, 1, at) != 1)
			missed++;
	}
	close(fd);
	ok(tried && !missed, "%s: %u flips of %lld bytes are found", file, tried, (long long)size);
}

static void cuts(int dirfd, const char *file, off_t step)
{
	int fd = openat(dirfd, file, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);
	char *copy = malloc(size);
	unsigned int missed = 0;

	if (pread(fd, copy, size, 0) != size)
		exit(1);
	for (off_t at = size - 1; at >= 0; at -= step) {
		if (ftruncate(fd, at) < 0 || !found(dirfd)) {
			diag("%s: cut at byte %lld: %s", file, (long long)at, err.text);
			missed++;
		}
	}
	ok(!missed, "%s: cuts are found", file);
	if (pwrite(fd, copy, size, 0) != size)
		exit(1);
	for (int more = 1; more < 40; more += 13) {
		if (ftruncate(fd, size + more) < 0 || !found(dirfd))
			missed++;
	}
	ok(!missed, "%s: zeros behind the end are found", file);
	if (pwrite(fd, copy, 16, size) != 16 || ftruncate(fd, size + 16) < 0 || !found(dirfd))
		missed++;
	ok(!missed, "%s: bytes behind the end are found", file);
	is(ftruncate(fd, size), 0, "it is as before");
	is(read_back(dirfd), 0, "and sound");
	free(copy);
	close(fd);
}

/* Words in the message that tell a user what is hit. */
static void names(int dirfd)
{
	int fd = openat(dirfd, "image", O_RDWR), pages = openat(dirfd, "pages", O_RDWR);
	unsigned char c;
	const char *p;

	must(pread(fd, &c, 1, 40) == 1, "a byte of the inventory");
	c ^= 8;
	ok(pwrite(fd, &c, 1, 40) == 1 && found(dirfd), "is flipped: %s", err.text);
	p = strstr(err.text, "record 1 (inventory, at byte 16)");
	ok(p && strstr(err.text, "dir/image") && strstr(err.text, "checksum"),
	   "file, record, kind and place are named");
	c ^= 8;
	ok(pwrite(fd, &c, 1, 40) == 1, "it is as before");
	ok(pwrite(pages, "?", 1, 5000) == 1 && found(dirfd), "a byte of the pages: %s", err.text);
	ok(strstr(err.text, "dir/pages: chunk 0 (bytes 0 to 20479)") != NULL,
	   "file, chunk and bytes are named");
	close(fd);
	close(pages);
}

int main(void)
{
	struct ckpt_arena *arena;
	char name[32];
	int dirfd;

	must(ckpt_arena_open(&arena, 64 << 20, &err) == 0, "an arena opens");
	dirfd = sample_folder(name);
	must(sample_write(arena, sample_small(arena), dirfd, &err) == 0, "an image: %s", err.text);
	is(read_back(dirfd), 0, "it is sound");
	flips(dirfd, "image", 1);
	cuts(dirfd, "image", 1);
	flips(dirfd, "pages", 8);
	cuts(dirfd, "pages", 7);
	unlinkat(dirfd, "pages", 0);
	ok(found(dirfd), "missing pages are found: %s", err.text);
	ckpt_image_remove(dirfd, true);
	must(sample_write(arena, sample_small(arena), dirfd, &err) == 0, "another image");
	names(dirfd);
	unlinkat(dirfd, "image", 0);
	ok(mkfifoat(dirfd, "image", 0600) == 0 && found(dirfd), "a pipe is no image: %s", err.text);
	sample_folder_remove(dirfd, name);
	ckpt_arena_close(arena);
	return tap_end();
}
