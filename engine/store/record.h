/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: the framing of records, shared by writer and reader. Little endian, as is
 * the machine. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "proto/image.pb-c.h"

#define CKPT_IMAGE_NAME "image"
#define CKPT_PAGES_NAME "pages"
#define CKPT_IMAGE_MAGIC "CKPTIMG\n"
#define CKPT_RUNS_PER_RECORD 500000u
#define CKPT_THREADS_PER_RECORD 1024u

struct ckpt_image_header {
	char magic[8];
	uint32_t format;
	uint32_t crc; /* of the 12 bytes before */
};

struct ckpt_record_header {
	uint32_t len; /* of the body that follows */
	uint32_t crc; /* of LEN and the body */
};

/* What both sides compute over all records before the trailer. */
struct ckpt_chain {
	uint64_t n_records;
	uint32_t crc; /* over their checksums, in order */
	uint64_t content_id;
};
void ckpt_chain_add(struct ckpt_chain *chain, const struct ckpt_record_header *head);

/* The plain one, for machines without the instructions and to test the other. */
uint32_t ckpt_crc32c_table(uint32_t crc, const void *data, size_t len);

/* The name of a folder for messages: without slashes at its end. */
char *ckpt_image_folder_name(struct ckpt_arena *arena, const char *dir);

/* ---- writing: a file through a buffer ---- */
struct ckpt_record_out {
	int fd;                 /* borrowed */
	const char *dir, *name; /* for messages */
	unsigned char *buf;     /* malloc */
	size_t size, used;
	uint64_t written;
	struct ckpt_chain chain;
};
int ckpt_record_out_open(struct ckpt_record_out *out, int fd, const char *dir,
			 struct ckpt_err *err);
/* Of another format than CKPT_IMAGE_FORMAT; right after the opening. */
void ckpt_record_out_format(struct ckpt_record_out *out, uint32_t format);
void ckpt_record_out_close(struct ckpt_record_out *out);
int ckpt_record_out_flush(struct ckpt_record_out *out, struct ckpt_err *err);
/* Appends REC with BODY (may be NULL) packed into its field "body", which is unset in REC. */
int ckpt_record_write(struct ckpt_record_out *out, const Ckpt__Record *rec,
		      const ProtobufCMessage *body, struct ckpt_err *err);
/* The last one; flushes. */
int ckpt_record_write_trailer(struct ckpt_record_out *out, struct ckpt_err *err);
/* The right refusal for what write(2) and friends said about a file of the folder. */
int ckpt_image_write_error(struct ckpt_err *err, int code, const char *dir, const char *what);
/* The names of files in DIRFD are there to stay; FILE: one that is on the same file system. */
int ckpt_image_sync_folder(int dirfd, int file, const char *dir, struct ckpt_err *err);
/* Inventory, tasks, memory maps, objects, pages. */
int ckpt_snapshot_write(struct ckpt_record_out *out, const struct ckpt_snapshot *snap,
			struct ckpt_arena *arena, struct ckpt_err *err);

/* ---- reading ---- */
struct ckpt_record_in {
	const char *path; /* of the image, for messages */
	uint64_t number;  /* of this record, from 1 */
	uint64_t offset;  /* in the file */
	char kind[32];    /* as far as it can be told; "?" */
	const void *data; /* the body, checked against its checksum; gone with the next record */
	size_t len;
	struct ckpt_record_header head;
};
/* What a file of records begins with. Returns its format. */
int ckpt_records_header(int fd, const char *path, struct ckpt_err *err);
/* Calls EACH for every record of FD (SIZE bytes) until it returns 1: the last one, or an error. 0
 * at the end. */
int ckpt_records_scan(int fd, uint64_t size, const char *path,
		      int (*each)(void *arg, const struct ckpt_record_in *in, struct ckpt_err *err),
		      void *arg, struct ckpt_err *err);
/* Of the last record: is it the end of what CHAIN says? */
int ckpt_record_check_trailer(const struct ckpt_record_in *in, const struct ckpt_chain *chain,
			      struct ckpt_err *err);
/* A damaged record: "PATH: record 3 (signalfd, at byte 99): WHAT". */
int ckpt_record_damaged(struct ckpt_err *err, const struct ckpt_record_in *in, const char *what);
/* Unpacks into ARENA, or into malloc if that is NULL (protobuf_c_message_free_unpacked). Bounded by
 * a multiple of LEN. NULL with an error if it is malformed, or has fields that this version does
 * not know. */
ProtobufCMessage *ckpt_record_unpack(const struct ckpt_record_in *in,
				     const ProtobufCMessageDescriptor *type,
				     struct ckpt_arena *arena, const void *data, size_t len,
				     struct ckpt_err *err);

/* The same for the body of the record itself. */
ProtobufCMessage *ckpt_record_unpack_body(const struct ckpt_record_in *in,
					  const ProtobufCMessageDescriptor *type,
					  struct ckpt_arena *arena, struct ckpt_err *err);

/* Builds a snapshot of records, one after the other. */
struct ckpt_snapshot_builder;
struct ckpt_snapshot_builder *ckpt_snapshot_builder_new(struct ckpt_arena *arena);
int ckpt_snapshot_builder_add(struct ckpt_snapshot_builder *b, const struct ckpt_record_in *in,
			      struct ckpt_err *err);
int ckpt_snapshot_builder_finish(struct ckpt_snapshot_builder *b, struct ckpt_snapshot **snapp,
				 struct ckpt_err *err);
