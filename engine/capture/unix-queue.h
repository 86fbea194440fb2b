/* SPDX-License-Identifier: Apache-2.0 */
/* What a Unix socket has received and nobody has read: data, and what came along. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/capture/collect.h"

#define CKPT_UNIX_MAX_RIGHTS 253 /* SCM_MAX_FD */

struct ckpt_unix_message {
	uint8_t *data;
	size_t len;
	uint8_t *from; /* sun_path of the sender */
	size_t from_len;
	int *rights; /* descriptors in flight: duplicates that are ours, the caller closes them */
	size_t n_rights;
	uint32_t *objects; /* what they were; of ckpt_unix_queue_seen() only */
	size_t n_objects;
	bool has_creds; /* also where the socket would not tell (no SO_PASSCRED) */
	int32_t pid;
	uint32_t uid, gid;
};

struct ckpt_unix_queue {
	struct ckpt_unix_message *v; /* in the arena; of a stream: pieces that are read apart */
	size_t n, room;
	bool of_any; /* it is connected to nobody: others may have sent, too */
};

/* All that FD has received and nobody has read. After a failure there may be rights to close, too.
 */
int ckpt_unix_peek(struct ckpt_arena *arena, int fd, int type, struct ckpt_unix_queue *queue,
		   struct ckpt_err *err);
/* How many messages behind those of the queue FD of TYPE has, all of them empty, when its peer,
 * which sends to nobody else, has sent what takes SENT (SIOCOUTQ). */
size_t ckpt_unix_hidden(const struct ckpt_unix_queue *queue, int type, uint32_t sent);
/* Closes what is in flight. */
void ckpt_unix_queue_close(struct ckpt_unix_queue *queue);
/* That of the socket that is being collected: it was peeked at when files were looked for. NULL
 * without a capture. */
const struct ckpt_unix_queue *ckpt_unix_queue_seen(const struct ckpt_collect *c);
/* Was there a datagram of a socket of that name (LEN 0: of none) in one that is connected to
 * nobody? */
bool ckpt_unix_seen_elsewhere(const struct ckpt_collect *c, const void *name, size_t len);
