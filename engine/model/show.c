/* SPDX-License-Identifier: Apache-2.0 */
/* A message on one line, by reflection: a new kind is shown without code for it. */
#include <string.h>
#include "engine/model/escape.h"
#include "engine/model/reflect.h"
#include "engine/model/show.h"

#define LIST_MAX 32 /* values of a list that are shown */
#define BYTES_MAX 32
#define DEPTH_MAX 8
#define ADDRESS (1ull << 40) /* numbers from here on are rather addresses than counts */

static void show_fields(struct ckpt_text *t, const ProtobufCMessage *msg, int depth);

static void show_name(struct ckpt_text *t, const struct ckpt_value *v)
{
	if (v->text)
		ckpt_text_printf(t, "%s", v->text);
	else
		ckpt_text_printf(t, "%lld", (long long)v->i);
}

static void show_text(struct ckpt_text *t, const char *s)
{
	ckpt_text_printf(t, "\"");
	ckpt_text_escaped(t, s, strlen(s), 1);
	ckpt_text_printf(t, "\"");
}

static void show_nested(struct ckpt_text *t, const ProtobufCMessage *msg, int depth)
{
	ckpt_text_printf(t, "{");
	if (depth < DEPTH_MAX)
		show_fields(t, msg, depth + 1);
	ckpt_text_printf(t, "}");
}

static void show_value(struct ckpt_text *t, const struct ckpt_value *v, int depth)
{
	switch (v->type) {
	case CKPT_VALUE_UNSIGNED:
		ckpt_text_printf(t, v->bits || v->u >= ADDRESS ? "%#llx" : "%llu",
				 (unsigned long long)v->u);
		break;
	case CKPT_VALUE_SIGNED:
		ckpt_text_printf(t, "%lld", (long long)v->i);
		break;
	case CKPT_VALUE_REAL:
		ckpt_text_printf(t, "%g", v->d);
		break;
	case CKPT_VALUE_BOOL:
		ckpt_text_printf(t, v->u ? "yes" : "no");
		break;
	case CKPT_VALUE_NAME:
		show_name(t, v);
		break;
	case CKPT_VALUE_TEXT:
		show_text(t, v->text);
		break;
	case CKPT_VALUE_BYTES:
		ckpt_text_printf(t, "<");
		ckpt_text_hex(t, v->data, v->len, BYTES_MAX);
		ckpt_text_printf(t, ">");
		break;
	case CKPT_VALUE_MESSAGE:
		show_nested(t, v->msg, depth);
		break;
	}
}

static void show_list(struct ckpt_text *t, const ProtobufCMessage *msg,
		      const ProtobufCFieldDescriptor *field, size_t n, int depth)
{
	struct ckpt_value v;

	ckpt_text_printf(t, "[");
	for (size_t i = 0; i < n && i < LIST_MAX; i++) {
		ckpt_field_get(msg, field, i, &v);
		ckpt_text_printf(t, i ? " " : "");
		show_value(t, &v, depth);
	}
	ckpt_text_printf(t, n > LIST_MAX ? " ... %zu in all]" : "]", n);
}

static void show_fields(struct ckpt_text *t, const ProtobufCMessage *msg, int depth)
{
	const char *separator = "";

	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
		size_t n = ckpt_field_count(msg, field);
		struct ckpt_value v;

		if (!n)
			continue;
		ckpt_text_printf(t, "%s%s=", separator, field->name);
		separator = " ";
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			show_list(t, msg, field, n, depth);
		} else {
			ckpt_field_get(msg, field, 0, &v);
			show_value(t, &v, depth);
		}
	}
}

size_t ckpt_show_message(const ProtobufCMessage *msg, char *buf, size_t size)
{
	struct ckpt_text t;

	ckpt_text_init(&t, buf, size);
	if (!size)
		return 0;
	ckpt_text_printf(&t, "%s ", msg->descriptor->short_name);
	show_fields(&t, msg, 0);
	/* A message without fields ends with its name. */
	if (t.n && buf[t.n - 1] == ' ')
		buf[--t.n] = '\0';
	return t.n;
}
