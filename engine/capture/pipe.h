/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a pipe, named or not: read without taking it out, and written into another one. */
#pragma once
#include <stdbool.h>
#include <protobuf-c/protobuf-c.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct ckpt_pipe {
	uint32_t capacity;         /* bytes */
	bool peer_gone;            /* nobody has the other end open */
	bool packets;              /* DATA are packets (O_DIRECT), else it is one run of bytes */
	ProtobufCBinaryData *data; /* in the arena */
	size_t n_data;
};

/* FD has the status flags FLAGS. Only a reading end shows what is in it. Changes nothing. */
int ckpt_pipe_peek(struct ckpt_arena *arena, int fd, uint32_t flags, struct ckpt_pipe *pipe,
		   struct ckpt_err *err);
/* Is that something that a pipe can hold? */
bool ckpt_pipe_sane(const struct ckpt_pipe *pipe);
/* Gives the empty pipe its capacity and writes DATA into the end FD, which is open for writing. */
int ckpt_pipe_fill(int fd, const struct ckpt_pipe *pipe, struct ckpt_err *err);
