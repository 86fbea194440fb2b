/* SPDX-License-Identifier: Apache-2.0 */
/* What the targets share: lists of record bodies become files with framing, checksums and trailer,
 * and the other way round. */
#pragma once
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "proto/image.pb-c.h"

static inline void put(int fd, const void *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		abort();
}

static inline void put_record(int fd, struct ckpt_chain *chain, const uint8_t *body, uint32_t len)
{
	struct ckpt_record_header head = { len, 0 };

	head.crc = ckpt_crc32c(ckpt_crc32c(0, &head.len, 4), body, len);
	put(fd, &head, sizeof(head));
	put(fd, body, len);
	if (chain)
		ckpt_chain_add(chain, &head);
}

static inline void put_trailer(int fd, const struct ckpt_chain *chain)
{
	Ckpt__Trailer trailer = CKPT__TRAILER__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;
	uint8_t body[64], whole[128];

	trailer.n_records = chain->n_records;
	trailer.crc = chain->crc;
	trailer.content_id = chain->content_id;
	rec.kind = (char *)"trailer";
	rec.has_body = 1;
	rec.body.len = ckpt__trailer__pack(&trailer, body);
	rec.body.data = body;
	put_record(fd, NULL, whole, ckpt__record__pack(&rec, whole));
}

/* A record that is changed before it is put: BODY has room for 65535 bytes; returns its length. */
typedef uint32_t fuzz_edit(void *arg, uint8_t *body, uint32_t len);

/* A whole file of a list of bodies, each after its length in two bytes. EDIT may be NULL. Returns
 * its content id. */
static inline uint64_t put_image(int fd, uint32_t format, const uint8_t *data, size_t size,
				 fuzz_edit *edit, void *arg)
{
	struct ckpt_image_header head = { CKPT_IMAGE_MAGIC, format, 0 };
	struct ckpt_chain chain = { 0 };
	static uint8_t body[65536];
	size_t at = 0;

	head.crc = ckpt_crc32c(0, &head, 12);
	put(fd, &head, sizeof(head));
	while (at + 2 <= size) {
		size_t len = data[at] | data[at + 1] << 8;

		at += 2;
		if (len > size - at)
			len = size - at;
		memcpy(body, data + at, len);
		put_record(fd, &chain, body, edit ? edit(arg, body, len) : len);
		at += len;
	}
	put_trailer(fd, &chain);
	return chain.content_id;
}

/* $FUZZ_DIR, best in memory: the same for all inputs. */
static inline int fuzz_folder(void)
{
	static int fd = -1;
	const char *name = getenv("FUZZ_DIR");

	if (fd < 0)
		fd = open(name ? name : ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		abort();
	return fd;
}

static inline uint8_t *whole_file(const char *path, size_t *lenp)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(1);
	}
	*lenp = st.st_size;
	p = mmap(NULL, st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The target on each of the files. */
static inline int run_inputs(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t size;
		uint8_t *p = whole_file(argv[i], &size);

		LLVMFuzzerTestOneInput(p, size);
	}
	return 0;
}

/* All records of a file but the trailer, MOST bytes. */
static inline void put_input(int fd, const char *path, size_t most)
{
	size_t size, at = sizeof(struct ckpt_image_header), done = 0;
	uint8_t *p = whole_file(path, &size);

	while (at + 8 < size) {
		uint32_t len;

		memcpy(&len, p + at, 4);
		if (len > 65535 || len > size - at - 8 || at + 8 + len == size ||
		    (done += len + 2) > most)
			break;
		put(fd, &len, 2);
		put(fd, p + at + 8, len);
		at += 8 + len;
	}
}
