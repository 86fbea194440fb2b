/* SPDX-License-Identifier: Apache-2.0 */
/* The planning half of engine/kinds/unix.c, and what its restoring half asks again. */
#pragma once
#include "engine/plan/plan.h"
#include "engine/plan/unix-name.h"
#include "proto/unix.pb-c.h"

const Ckpt__Unix *ckpt_unix_message_of(const struct ckpt_object *obj);
struct ckpt_unix_name ckpt_unix_name_of(const Ckpt__Unix *m);
bool ckpt_unix_equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b);
const struct ckpt_object *ckpt_unix_peer(const struct ckpt_snapshot *snap,
					 const struct ckpt_object *obj);
/* Who is to be accepted by OBJ: number I of its queue; NULL: it is not in the tree. */
const struct ckpt_object *ckpt_unix_pending(const struct ckpt_snapshot *snap,
					    const struct ckpt_object *obj, size_t i);
/* One of a pair, or what is left of it. */
bool ckpt_unix_paired(const struct ckpt_snapshot *snap, const struct ckpt_object *obj);
/* A socket of the same type with that name: the listener of an accepted one (LISTENING), the sender
 * of a datagram. */
const struct ckpt_object *ckpt_unix_find(const struct ckpt_snapshot *snap,
					 const struct ckpt_object *obj,
					 const ProtobufCBinaryData *name, Ckpt__Unix__State state);
/* Of an accepted one, if it is in the tree. */
const struct ckpt_object *ckpt_unix_listener(const struct ckpt_snapshot *snap,
					     const struct ckpt_object *obj);

/* When the queue of a socket (and that of its other end) can be filled: with descriptors in flight
 * when all objects exist, with credentials when all processes do. */
enum ckpt_unix_stage { CKPT_UNIX_AT_CREATE, CKPT_UNIX_AT_LINK, CKPT_UNIX_AT_ATTACH };
enum ckpt_unix_stage ckpt_unix_stage(const struct ckpt_snapshot *snap,
				     const struct ckpt_object *obj);
/* Sends Q from FROM to TO, its peer or (not NULL) who has that NAME. */
int ckpt_unix_put(struct ckpt_site *site, int from, int to, const struct ckpt_unix_name *name,
		  bool stream, const Ckpt__UnixMessage *q, struct ckpt_err *err);

bool ckpt_unix_creds_sane(const Ckpt__UnixCreds *c);
bool ckpt_unix_creds_equal(const Ckpt__UnixCreds *a, const Ckpt__UnixCreds *b);
/* Says what of them cannot be had here. C may be NULL. */
void ckpt_unix_plan_creds(struct ckpt_planner *p, const struct ckpt_object *obj,
			  const Ckpt__UnixCreds *c);
/* Calls made as somebody, NULL: as ourselves. */
int ckpt_unix_listen(int fd, int backlog, const Ckpt__UnixCreds *as, struct ckpt_err *err);
int ckpt_unix_connect_as(int fd, const struct ckpt_unix_name *name, const Ckpt__UnixCreds *as,
			 pid_t *pidp, struct ckpt_err *err);
int ckpt_unix_pair(int type, int fd[2], const Ckpt__UnixCreds *as, struct ckpt_err *err);
/* Gives FD, which will be closed, the name that the closed peer of M had, without a file that
 * anybody sees; and connects FROM to it, if not -1. */
int ckpt_unix_name_closed(int fd, const Ckpt__Unix *m, int from, struct ckpt_err *err);
/* Gives FD the name NAME, a path whose file is gone, without a file that anybody sees. */
int ckpt_unix_bind_unseen(int fd, const struct ckpt_unix_name *name, struct ckpt_err *err);
/* Is that enough for OBJ: its file is gone, and nobody is to be connected to it? */
bool ckpt_unix_unseen(const struct ckpt_snapshot *snap, const struct ckpt_object *obj);

int ckpt_unix_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err);
