/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store: the file "given-up" beside the pages of an image. It names the pages that
 * nobody has any more, for images that go on from this one have newer ones. It is there before the
 * first of them is freed, and they read as zeroes whether they are freed by then or not: what is
 * killed in between harms nobody.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/store/image.h"
#include "proto/image.pb-c.h"

#define CKPT_GIVEN_UP_NAME "given-up"
#define CKPT_CHUNK_PAGES (CKPT_CHUNK / CKPT_PAGE)
#define CKPT_CHUNK_WORDS (CKPT_CHUNK_PAGES / 64)

struct ckpt_image;

struct ckpt_given_up {
	uint64_t *page; /* a bit for each page of the image; NULL: all are there */
	uint32_t *crc;  /* of each chunk, as it is without them */
	Ckpt__GivenUp__Heir **heir;
	size_t n_heirs;
};

static inline bool ckpt_bit(const uint64_t *bits, uint64_t n)
{
	return bits[n / 64] >> n % 64 & 1;
}

static inline void ckpt_set_bit(uint64_t *bits, uint64_t n)
{
	bits[n / 64] |= 1ull << n % 64;
}

static inline size_t ckpt_n_words(size_t n_chunks)
{
	return n_chunks * CKPT_CHUNK_WORDS;
}

static inline bool ckpt_any_bit(const uint64_t *bits, size_t n_words)
{
	while (n_words && !bits[n_words - 1])
		n_words--;
	return n_words;
}

/* Reads FD, a file of SIZE bytes called PATH. One that is about another image counts for nothing.
 */
int ckpt_given_up_read(struct ckpt_image *img, int fd, uint64_t size, const char *path,
		       struct ckpt_err *err);
/* LEN bytes of the pages from OFFSET on, as they were read: those that are given up become zeroes.
 */
void ckpt_given_up_clear(const struct ckpt_image *img, void *data, size_t len, uint64_t offset);
/* Puts the file in place of the one that was there. The folder of IMG is open. */
int ckpt_given_up_write(const struct ckpt_image *img, const struct ckpt_given_up *g,
			struct ckpt_err *err);
