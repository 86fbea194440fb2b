/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image that is looked into: what any byte of its processes was, without a restore. Nothing but
 * the image is needed, and where a page was that of a file and nobody had changed it, that file, as
 * it was. The image is hostile: nothing of it is executed, and everything is bounded.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "engine/store/image.h"

struct ckpt_look_ahead;
struct ckpt_look_file;
struct ckpt_elf;

struct ckpt_look {
	struct ckpt_arena *arena;
	struct ckpt_image *img;
	struct ckpt_snapshot *snap;
	const char *dir;
	const char *debug_dir;        /* of separate debug files, NULL: the machine's own */
	uint64_t debug_read;          /* bytes of debug information so far */
	unsigned int entries_seen;    /* of it */
	struct ckpt_look_file *files; /* by object id - 1 */
	struct ckpt_elf **elfs;       /* the same; NULL: not opened yet */
	struct ckpt_elf *vdso;
	/* Objects that are opens of one file, by object id - 1: the one of them that has its
	 * content or holds unread data, as an id; 0: none. */
	uint32_t *content_of, *data_of;
	uint64_t *verified; /* a bit for each chunk of the pages file; atomically */
};

/* The image of DIRFD, called DIR. Nothing else is opened yet. */
int ckpt_look_open(struct ckpt_look **lookp, struct ckpt_arena *arena, int dirfd, const char *dir,
		   struct ckpt_err *err);
/* NULL is fine. */
void ckpt_look_close(struct ckpt_look *look);
/* The process with that number, which has memory; NULL with an error. */
const struct ckpt_task *ckpt_look_task(const struct ckpt_look *look, pid_t pid,
				       struct ckpt_err *err);
/* The same; zombies too. */
const struct ckpt_task *ckpt_look_process(const struct ckpt_look *look, pid_t pid,
					  struct ckpt_err *err);

/* ---- where bytes come from ---- */
enum ckpt_look_from {
	CKPT_LOOK_NOTHING, /* no area: nothing is mapped there */
	CKPT_LOOK_STORED,  /* FD is the pages file, -1 if that is packed */
	CKPT_LOOK_FILE,    /* FD is the mapped file */
	CKPT_LOOK_BYTES,   /* at DATA: the vDSO */
	CKPT_LOOK_ZERO,    /* never touched, or a hole */
	CKPT_LOOK_MISSING, /* cannot be known: WHY */
};

/* Addresses from START to END whose bytes come from the same place, one after the other. */
struct ckpt_look_piece {
	uint64_t start, end;
	enum ckpt_look_from from;
	const Ckpt__Area *area; /* NULL: NOTHING */
	int fd;
	uint64_t offset; /* in FD, */
	uint64_t base;   /* which has the pages of the chain of images from there on (STORED) */
	const unsigned char *data;
	const char *why;
};

/* The piece of TASK, which has memory, that ADDR lies in; it starts at ADDR. */
void ckpt_look_piece(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
		     struct ckpt_look_piece *piece);
/* The same of the content of an object (deleted files, shared memory), from OFFSET on. NOTHING:
 * behind its end. */
void ckpt_look_content(struct ckpt_look *look, const struct ckpt_object *obj, uint64_t offset,
		       struct ckpt_look_piece *piece);
/* The bytes of PIECE from AT on, which lies in it, LEN at most. What is read of the pages file has
 * been compared with its checksum. Returns how many, 0 only for LEN 0. Of NOTHING and MISSING:
 * -EFAULT, with its reason. */
ssize_t ckpt_look_bytes(struct ckpt_look *look, const struct ckpt_look_piece *piece, uint64_t at,
			void *buf, size_t len, struct ckpt_err *err);
/* LEN bytes at ADDR of TASK, all of them or an error that says from which address on and why. */
int ckpt_look_read(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr, void *buf,
		   size_t len, struct ckpt_err *err);
/* Compares what of the pages file has not been compared yet. */
int ckpt_look_verify(struct ckpt_look *look, uint64_t offset, uint64_t len, struct ckpt_err *err);
/* Compares the memory of TASK in a thread of its own, while the caller reads it from its
 * beginning on; NULL: it is not worth it. ahead.c */
struct ckpt_look_ahead *ckpt_look_ahead(struct ckpt_look *look, const struct ckpt_task *task);
/* Before anything of LOOK is closed. NULL is fine. */
void ckpt_look_ahead_end(struct ckpt_look_ahead *ahead);
/* Index of the area that holds ADDR or, if none does, of the first behind it. */
size_t ckpt_look_area(const Ckpt__Mm *mm, uint64_t addr);
/* "[heap]", "[stack]", the path of its file; "" if it has no name. */
const char *ckpt_look_area_name(const struct ckpt_look *look, const struct ckpt_task *task,
				const Ckpt__Area *area);
/* Is it called NAME, or is that the last part of its path? */
bool ckpt_look_area_is(const struct ckpt_look *look, const struct ckpt_task *task,
		       const Ckpt__Area *area, const char *name);
/* The object that has the content which OBJ shares with it; NULL if there is none. */
const struct ckpt_object *ckpt_look_owner(const struct ckpt_look *look,
					  const struct ckpt_object *obj);

/* Are both objects opens of the same file? */
bool ckpt_look_same_file(const struct ckpt_look *look, uint32_t a, uint32_t b);

/* ---- mapped files, as they are on this machine ---- */
struct ckpt_look_file {
	bool tried;
	int fd; /* -1: WHY */
	uint64_t size;
	const char *why;
	bool unproven; /* nothing but its size could be compared */
};
const struct ckpt_look_file *ckpt_look_file(struct ckpt_look *look, const struct ckpt_object *obj);
/* ---- sharing.c ---- */
/* Fills content_of and data_of. */
void ckpt_look_share(struct ckpt_look *look);
/* Bytes of unread data in a message: of all its fields that are called "data". */
uint64_t ckpt_look_data(const ProtobufCMessage *msg);

/* The path of a file object, NULL if it has none. */
const char *ckpt_look_path(const struct ckpt_object *obj);
