/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests of kinds of open files: the calling process is dumped and restored onto itself.
 * What is given away is collected, travels as bytes, is closed, planned, made by the steps of the
 * plan, and is back at its numbers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <protobuf-c/protobuf-c.h>
#include "engine/base/err.h"

struct file_stage {
	int fd[32]; /* what has to come back */
	size_t n;
	int hidden[8]; /* closed too, in the tree, but not restored: an outside end */
	size_t n_hidden;
	bool shell_job;
	void (*spoil)(ProtobufCMessage *msg); /* of each object, as an enemy might; may be NULL */
	void (*between)(void *arg);           /* when the originals are closed; may be NULL */
	void *arg;
	char problem[1024]; /* the first reason why it cannot be done: of collect() or of the plan
			     */
	int number;         /* and its CKPT_E_*, or a negative errno */
	size_t n_objects;
};

/* The round trip. False: PROBLEM says why, and nothing is restored. */
bool file_round_trip(struct file_stage *s);
/* The same for up to 8 descriptors, ended by -1; prints the problem. */
bool file_round_trip_of(int fd, ...);
