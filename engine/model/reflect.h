/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the model: any message, field by field. Protobuf's sixteen types are eight here. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

struct ckpt_value {
	enum ckpt_value_type {
		CKPT_VALUE_UNSIGNED,
		CKPT_VALUE_SIGNED,
		CKPT_VALUE_REAL,
		CKPT_VALUE_BOOL,
		CKPT_VALUE_NAME,
		CKPT_VALUE_TEXT,
		CKPT_VALUE_BYTES,
		CKPT_VALUE_MESSAGE,
	} type;
	uint64_t u; /* UNSIGNED, BOOL */
	bool bits;  /* UNSIGNED: of fixed width, so a mask or a register: best in hexadecimal */
	int64_t i;  /* SIGNED, and what a NAME stands for */
	double d;
	const char *text;    /* TEXT; NAME: NULL if the number has none */
	const uint8_t *data; /* BYTES */
	size_t len;
	const ProtobufCMessage *msg;
};

/* How many values the field has: 0 if it is absent. */
size_t ckpt_field_count(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field);
void ckpt_field_get(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field, size_t i,
		    struct ckpt_value *v);
/* The string field of that name, NULL if there is none. */
const char *ckpt_field_text(const ProtobufCMessage *msg, const char *name);
