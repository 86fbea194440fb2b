/* SPDX-License-Identifier: Apache-2.0 */
/* Where protobuf-c keeps things: its descriptors tell offsets into the generated structs. */
#include <string.h>
#include "engine/model/reflect.h"

static const void *at(const ProtobufCMessage *msg, unsigned int offset)
{
	return (const char *)msg + offset;
}

static size_t size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8;
	}
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
}

size_t ckpt_field_count(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)at(msg, field->quantifier_offset);
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const uint32_t *)at(msg, field->quantifier_offset) != field->id)
		return 0;
	if (is_pointer(field))
		return *(const void *const *)at(msg, field->offset) != NULL;
	if (field->label == PROTOBUF_C_LABEL_OPTIONAL &&
	    !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return *(const protobuf_c_boolean *)at(msg, field->quantifier_offset) != 0;
	return 1;
}

static void get_unsigned(struct ckpt_value *v, uint64_t u, bool bits)
{
	v->type = CKPT_VALUE_UNSIGNED;
	v->u = u;
	v->bits = bits;
}

static void get_signed(struct ckpt_value *v, int64_t i)
{
	v->type = CKPT_VALUE_SIGNED;
	v->i = i;
}

static void get_real(struct ckpt_value *v, double d)
{
	v->type = CKPT_VALUE_REAL;
	v->d = d;
}

static void get_name(struct ckpt_value *v, const ProtobufCEnumDescriptor *names, int32_t i)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(names, i);

	v->type = CKPT_VALUE_NAME;
	v->i = i;
	v->text = value ? value->name : NULL;
}

static void get_text(struct ckpt_value *v, const char *text)
{
	v->type = CKPT_VALUE_TEXT;
	v->text = text ? text : "";
}

static void get_bytes(struct ckpt_value *v, const ProtobufCBinaryData *bytes)
{
	v->type = CKPT_VALUE_BYTES;
	v->data = bytes->data;
	v->len = bytes->len;
}

static void get_value(struct ckpt_value *v, const ProtobufCFieldDescriptor *field, const void *p)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		get_signed(v, *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		get_signed(v, *(const int64_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		get_unsigned(v, *(const uint32_t *)p, field->type == PROTOBUF_C_TYPE_FIXED32);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		get_unsigned(v, *(const uint64_t *)p, field->type == PROTOBUF_C_TYPE_FIXED64);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		get_real(v, *(const float *)p);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		get_real(v, *(const double *)p);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		v->type = CKPT_VALUE_BOOL;
		v->u = *(const protobuf_c_boolean *)p != 0;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		get_name(v, field->descriptor, *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_STRING:
		get_text(v, *(const char *const *)p);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		get_bytes(v, p);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		v->type = CKPT_VALUE_MESSAGE;
		v->msg = *(const ProtobufCMessage *const *)p;
		break;
	}
}

void ckpt_field_get(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field, size_t i,
		    struct ckpt_value *v)
{
	const char *p = at(msg, field->offset);

	memset(v, 0, sizeof(*v));
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		p = *(const char *const *)at(msg, field->offset) + i * size_of(field->type);
	get_value(v, field, p);
}

const char *ckpt_field_text(const ProtobufCMessage *msg, const char *name)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);
	struct ckpt_value v;

	if (!field || field->type != PROTOBUF_C_TYPE_STRING ||
	    field->label == PROTOBUF_C_LABEL_REPEATED || !ckpt_field_count(msg, field))
		return NULL;
	ckpt_field_get(msg, field, 0, &v);
	return v.text;
}
