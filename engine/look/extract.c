/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes out of an image. Unread data is found by reflection: whatever field of a message is called
 * "data" and is bytes (pipes, queues of sockets), in its order; no kind is named.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/look/extract.h"
#include "engine/model/reflect.h"

#define ROOM (1u << 20)
#define DEPTH_MAX 4

static int put(struct ckpt_sink *sink, const void *data, size_t len, struct ckpt_err *err)
{
	int r = 0;

	if (sink->out)
		r = ckpt_output_write(sink->out, data, len, sink->at, err);
	else if (fwrite(data, 1, len, sink->stream) != len)
		r = ckpt_fail(err, -errno, "standard output: cannot write");
	sink->at += len;
	return r;
}

static int put_zero(struct ckpt_sink *sink, uint64_t len, unsigned char *buf, struct ckpt_err *err)
{
	if (sink->out) {
		sink->at += len;
		return 0;
	}
	memset(buf, 0, ROOM);
	while (len) {
		size_t n = len < ROOM ? len : ROOM;
		int r = put(sink, buf, n, err);

		if (r < 0)
			return r;
		len -= n;
	}
	return 0;
}

/* A file ends with a hole. */
static int finish(const struct ckpt_sink *sink, struct ckpt_err *err)
{
	if (!sink->out || !ftruncate(sink->out->fd, sink->at))
		return 0;
	return ckpt_refuse(err, CKPT_E_OUTPUT, -errno, "%s: cannot make it %llu bytes long: %s",
			   sink->out->path, (unsigned long long)sink->at, strerrordesc_np(errno));
}

static int put_piece(struct ckpt_look *look, const struct ckpt_look_piece *piece, uint64_t stop,
		     struct ckpt_sink *sink, unsigned char *buf, struct ckpt_err *err)
{
	uint64_t at = piece->start;

	if (piece->from == CKPT_LOOK_ZERO)
		return put_zero(sink, stop - at, buf, err);
	while (at < stop) {
		ssize_t n = ckpt_look_bytes(look, piece, at, buf,
					    stop - at < ROOM ? stop - at : ROOM, err);
		int r = n < 0 ? n : put(sink, buf, n, err);

		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

int ckpt_extract_memory(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
			uint64_t len, struct ckpt_sink *sink, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(ROOM);
	struct ckpt_look_piece piece = { .end = addr };
	uint64_t end = addr + len;
	int r = buf ? 0 : ckpt_fail(err, -ENOMEM, "cannot read");

	while (r >= 0 && piece.end < end) {
		ckpt_look_piece(look, task, piece.end, &piece);
		r = put_piece(look, &piece, piece.end < end ? piece.end : end, sink, buf, err);
	}
	return r < 0 ? r : finish(sink, err);
}

static int put_content(struct ckpt_look *look, const struct ckpt_object *obj,
		       struct ckpt_sink *sink, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(ROOM);
	struct ckpt_look_piece piece = { 0 };
	int r = buf ? 0 : ckpt_fail(err, -ENOMEM, "cannot read");

	while (r >= 0 && piece.end < obj->content_size) {
		ckpt_look_content(look, obj, piece.end, &piece);
		r = put_piece(look, &piece, piece.end, sink, buf, err);
	}
	return r < 0 ? r : finish(sink, err);
}

static int put_data(const ProtobufCMessage *msg, struct ckpt_sink *sink, int depth,
		    struct ckpt_err *err)
{
	struct ckpt_value v;
	int r = 0;

	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
		size_t n = ckpt_field_count(msg, field);

		for (size_t k = 0; k < n && r >= 0; k++) {
			ckpt_field_get(msg, field, k, &v);
			if (v.type == CKPT_VALUE_MESSAGE && depth < DEPTH_MAX)
				r = put_data(v.msg, sink, depth + 1, err);
			else if (v.type == CKPT_VALUE_BYTES && !strcmp(field->name, "data"))
				r = put(sink, v.data, v.len, err);
		}
	}
	return r;
}

bool ckpt_object_holds(const struct ckpt_look *look, const struct ckpt_object *obj,
		       uint64_t *bytesp)
{
	const struct ckpt_object *owner = ckpt_look_owner(look, obj);
	uint32_t id = look->data_of[obj->id - 1];

	*bytesp = owner ? owner->content_size : 0;
	if (!owner && id)
		*bytesp = ckpt_look_data(look->snap->objects[id - 1]->msg);
	return owner || *bytesp;
}

int ckpt_extract_object(struct ckpt_look *look, const struct ckpt_object *obj,
			struct ckpt_sink *sink, struct ckpt_err *err)
{
	const struct ckpt_object *owner = ckpt_look_owner(look, obj);
	const char *path = ckpt_look_path(obj);
	uint32_t id = look->data_of[obj->id - 1];

	if (owner)
		return put_content(look, owner, sink, err);
	if (id)
		return put_data(look->snap->objects[id - 1]->msg, sink, 0, err);
	if (path)
		return ckpt_refuse(err, CKPT_E_NO_CONTENT, -ENODATA,
				   "%s: a file that has a name is not in the image", path);
	return ckpt_refuse(err, CKPT_E_NO_CONTENT, -ENODATA, "%s %u: it held no data",
			   obj->kind->name, obj->id);
}
