/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kind of resource: everything the engine has to know about signalfds, or
 * about rlimits, in one table. A kind lives in one file of engine/kinds/; no
 * other file names it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>
#include "engine/base/err.h"

struct ckpt_collect;
struct ckpt_object;
struct ckpt_planner;
struct ckpt_probe;
struct ckpt_site;

enum ckpt_scope {
	CKPT_PER_FILE,   /* one object for each open file description */
	CKPT_PER_TASK,   /* one for each process */
	CKPT_PER_THREAD, /* one for each thread */
	CKPT_PER_TREE,   /* one for the whole snapshot */
};

struct ckpt_kind {
	const char *name; /* in records, logs and `ckpt show` */
	enum ckpt_scope scope;
	const ProtobufCMessageDescriptor *message; /* what collect() fills, all of it stored */

	/* Is this open file mine? CKPT_PER_FILE only. Exactly one kind says yes. */
	bool (*match)(const struct ckpt_probe *probe);

	/* Can this machine hold one? Asked before a plan and by `ckpt check`. NULL: always. */
	int (*supported)(struct ckpt_err *err);

	/* Capture: reads through the source, writes into MSG. Changes nothing in the target.
	 * Returns 0; 1: there is nothing to keep, no object is made (not CKPT_PER_FILE); or an
	 * error. ckpt_refuse() is gathered with the other problems; any other failure ends the
	 * dump. */
	int (*collect)(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err);

	/* CKPT_PER_THREAD: asked also of a main thread that has ended while others go on. Remote
	 * calls are then answered by one of those. */
	bool of_ended;

	/* Plan: pure, of an image that may be hostile. Checks the message, says what it needs and
	 * in what order, or emits its system calls. Also run at the end of a capture, so that what
	 * could not be restored is refused there. An error is a problem of the plan. */
	int (*plan)(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err);

	/* Create: once, in the builder, before any task exists. Returns a new descriptor, the
	 * caller's. The engine then sets the status flags and the position. */
	int (*create)(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err);

	/* Map: in the builder, before that, instead of create(): shared memory that no descriptor
	 * leads to. Maps all of it AT that address, over whatever is there; called again for the
	 * same object to give up writing. The engine fills it, and tasks inherit it. */
	int (*map)(struct ckpt_site *site, const struct ckpt_object *obj, uint64_t at,
		   bool writable, struct ckpt_err *err);

	/* Link: in the builder, when all objects exist: peers, queues, contents. */
	int (*link)(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err);

	/* Control: CKPT_PER_TASK, of a session leader: right after its setsid(), before it forks,
	 * when the builder's objects exist. */
	int (*control)(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err);

	/* Attach: in the owning task (CKPT_PER_FILE: the first task that has it), when all tasks
	 * exist and have their descriptors; the bank is still open. For CKPT_PER_TASK too: working
	 * directory, terminal. */
	int (*attach)(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err);

	/* Late: CKPT_PER_FILE, pure as plan() is: system calls of the first task that has it, in
	 * its last stage, where the file is at its numbers. For what needs threads. */
	int (*late)(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err);
};

/* Every kind in engine/kinds/, in name order; the list is made by autogen.sh. */
extern const struct ckpt_kind *const ckpt_kinds[];
extern const unsigned int ckpt_n_kinds;
/* NULL if there is none of that name. */
const struct ckpt_kind *ckpt_kind_find(const char *name);
