/* SPDX-License-Identifier: Apache-2.0 */
/* Prints any message or snapshot, through protobuf reflection: no kind needs code for it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "engine/base/arena.h"
#include "engine/model/snapshot.h"

struct json_object; /* json-c */

/* "Signalfd mask=0x200", one line, control characters escaped. Returns the length written
 * (truncated to SIZE). */
size_t ckpt_show_message(const ProtobufCMessage *msg, char *buf, size_t size);
/* The same as JSON; the caller puts it. Bytes are hex strings, cut after 64 bytes with a count. */
struct json_object *ckpt_json_message(const ProtobufCMessage *msg);
/* A text; what is no UTF-8 is escaped. */
struct json_object *ckpt_json_text(const char *s);
/* The whole snapshot: inventory, tasks (threads, fds, areas, state), objects. */
struct json_object *ckpt_json_snapshot(const struct ckpt_snapshot *snap);
/* The same for people: summary, tree, files, memory. */
void ckpt_show_snapshot(const struct ckpt_snapshot *snap, FILE *out);
