/* SPDX-License-Identifier: Apache-2.0 */
/* Which objects are opens of one file: what one of them brought along belongs to all. Of a pipe
 * only the reading end has data. */
#include <stdlib.h>
#include <string.h>
#include "engine/look/look.h"
#include "engine/model/reflect.h"

#define DEPTH_MAX 4

static uint64_t data_in(const ProtobufCMessage *msg, int depth)
{
	struct ckpt_value v;
	uint64_t n = 0;

	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
		size_t count = ckpt_field_count(msg, field);

		if (field->type != PROTOBUF_C_TYPE_MESSAGE && strcmp(field->name, "data"))
			continue;
		for (size_t k = 0; k < count; k++) {
			ckpt_field_get(msg, field, k, &v);
			if (v.type == CKPT_VALUE_BYTES)
				n += v.len;
			else if (v.type == CKPT_VALUE_MESSAGE && depth < DEPTH_MAX)
				n += data_in(v.msg, depth + 1);
		}
	}
	return n;
}

uint64_t ckpt_look_data(const ProtobufCMessage *msg)
{
	return data_in(msg, 0);
}

static int by_file(const struct ckpt_object *a, const struct ckpt_object *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->file.dev != b->file.dev)
		return a->file.dev < b->file.dev ? -1 : 1;
	if (a->file.ino != b->file.ino)
		return a->file.ino < b->file.ino ? -1 : 1;
	/* Without an inode each is for itself. */
	if (!a->file.ino && a != b)
		return a->id < b->id ? -1 : 1;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct ckpt_object *x = *(struct ckpt_object *const *)a;
	const struct ckpt_object *y = *(struct ckpt_object *const *)b;
	int r = by_file(x, y);

	return r ? r : x->id < y->id ? -1 : x->id > y->id;
}

static void share(struct ckpt_look *look, struct ckpt_object *const *v, size_t n)
{
	uint32_t content = 0, data = 0;

	for (size_t i = 0; i < n; i++) {
		if (!content && v[i]->has_content)
			content = v[i]->id;
		if (!data && v[i]->kind->scope == CKPT_PER_FILE && ckpt_look_data(v[i]->msg))
			data = v[i]->id;
	}
	for (size_t i = 0; i < n; i++) {
		look->content_of[v[i]->id - 1] = v[i]->has_content ? v[i]->id : content;
		look->data_of[v[i]->id - 1] = data;
	}
}

void ckpt_look_share(struct ckpt_look *look)
{
	size_t n = look->snap->n_objects, start = 0;
	struct ckpt_object **v = ckpt_alloc(look->arena, (n + 1) * sizeof(*v));

	look->content_of = ckpt_alloc(look->arena, (n + 1) * sizeof(*look->content_of));
	look->data_of = ckpt_alloc(look->arena, (n + 1) * sizeof(*look->data_of));
	if (n)
		memcpy(v, look->snap->objects, n * sizeof(*v));
	qsort(v, n, sizeof(*v), compare);
	for (size_t i = 1; i <= n; i++) {
		if (i < n && !by_file(v[start], v[i]))
			continue;
		share(look, v + start, i - start);
		start = i;
	}
}
