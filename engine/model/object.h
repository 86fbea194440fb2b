/* SPDX-License-Identifier: Apache-2.0 */
/* A captured resource: its kind, its message, and what it needs. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "engine/model/kind.h"
#include "engine/model/pages.h"

struct ckpt_object {
	uint32_t id; /* 1.. within a snapshot */
	const struct ckpt_kind *kind;
	ProtobufCMessage *msg; /* of type kind->message */
	uint32_t task; /* owner: CKPT_PER_TASK, CKPT_PER_THREAD; CKPT_PER_FILE: the first task that
			  has it, 0: only mapped */
	int32_t tid;   /* CKPT_PER_THREAD */
	/* What every open file has, so that no kind repeats it. CKPT_PER_FILE only. */
	struct {
		uint32_t flags; /* F_GETFL */
		bool has_pos;   /* lseek() works on it */
		uint64_t pos;
		uint64_t dev, ino; /* identity at the dump; tells objects of one pipe or file */
		/* What rules of the user go by. */
		const char *link; /* target of /proc/PID/fd/N; NULL: unknown */
		uint64_t rdev;    /* of a device */
		uint32_t mount;   /* mnt_id of fdinfo */
		int domain, type; /* of a socket; 0: of none */
	} file;
	/* Contents kept as pages (memfd, deleted files, shared anonymous memory). */
	bool has_content;
	uint64_t content_size;
	struct ckpt_pages content;
};
