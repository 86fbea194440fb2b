/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records, as they are read: from a file that anybody may have made, and may change meanwhile. So
 * it is read into memory of our own and checked there; a mapping could change after the check, or
 * fault.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/file.h"
#include "engine/store/image.h"
#include "engine/store/record.h"

#define WINDOW (256u << 10)
#define UNPACK_FACTOR                                                                          \
	64u /* bytes of memory for a byte of a message: 2 bytes make a 32-byte entry, in slabs \
	       that double */
#define UNPACK_BASE 8192u
#define DEPTH_MAX 16

struct window {
	int fd;
	const char *path;
	uint64_t size;  /* of the file */
	uint64_t start; /* what BUF holds */
	size_t have, room;
	unsigned char *buf;
};

static int window_fill(struct window *w, uint64_t offset, size_t n, struct ckpt_err *err)
{
	uint64_t want = w->size - offset;
	ssize_t r;

	if (n > w->room) {
		unsigned char *bigger = realloc(w->buf, n > WINDOW ? n : WINDOW);

		if (!bigger)
			return ckpt_fail(err, -ENOMEM, "%s: cannot read", w->path);
		w->buf = bigger;
		w->room = n > WINDOW ? n : WINDOW;
	}
	if (want > w->room)
		want = w->room;
	w->start = offset;
	r = ckpt_pread(w->fd, w->buf, want, offset);
	w->have = r < 0 ? 0 : r;
	if (r < 0)
		return ckpt_fail(err, r, "%s: cannot read", w->path);
	if (w->have < want)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: cannot read: it became shorter", w->path);
	return 0;
}

/* N bytes at OFFSET, which lie in the file. */
static int window_get(struct window *w, uint64_t offset, size_t n, const void **datap,
		      struct ckpt_err *err)
{
	int r = 0;

	if (offset < w->start || n > w->have || offset - w->start > w->have - n)
		r = window_fill(w, offset, n, err);
	if (r >= 0)
		*datap = w->buf + (offset - w->start);
	return r;
}

int ckpt_record_damaged(struct ckpt_err *err, const struct ckpt_record_in *in, const char *what)
{
	return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
			   "%s: record %llu (%s, at byte %llu): %s", in->path,
			   (unsigned long long)in->number, in->kind, (unsigned long long)in->offset,
			   what);
}

/* The kind is the first field; it is looked for also where the checksum is wrong, to have a name
 * for what is lost. */
static void peek_kind(struct ckpt_record_in *in, const unsigned char *body, size_t len)
{
	size_t n = len >= 2 && body[0] == 0x0a ? body[1] : 0;

	strcpy(in->kind, "?");
	if (!n || n >= sizeof(in->kind) || n + 2 > len)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum(body[2 + i]) && !strchr("-_.", body[2 + i]))
			return;
	}
	memcpy(in->kind, body + 2, n);
	in->kind[n] = '\0';
}

static int read_one(struct window *w, struct ckpt_record_in *in, struct ckpt_err *err)
{
	uint64_t left = w->size - in->offset;
	const void *p;
	int r;

	strcpy(in->kind, "?");
	if (left < sizeof(in->head))
		return ckpt_record_damaged(err, in, "the file ends in it");
	r = window_get(w, in->offset, sizeof(in->head), &p, err);
	if (r < 0)
		return r;
	memcpy(&in->head, p, sizeof(in->head));
	if (in->head.len > CKPT_RECORD_MAX)
		return ckpt_record_damaged(err, in, "its length is impossible");
	if (in->head.len > left - sizeof(in->head))
		return ckpt_record_damaged(err, in, "the file ends in it");
	in->len = in->head.len;
	r = window_get(w, in->offset + sizeof(in->head), in->len, &in->data, err);
	if (r < 0)
		return r;
	peek_kind(in, in->data, in->len);
	if (ckpt_crc32c(ckpt_crc32c(0, &in->head.len, 4), in->data, in->len) != in->head.crc)
		return ckpt_record_damaged(err, in, "checksum does not match");
	return 0;
}

int ckpt_records_header(int fd, const char *path, struct ckpt_err *err)
{
	struct ckpt_image_header head;
	ssize_t n = pread(fd, &head, sizeof(head), 0);

	if (n < 0)
		return ckpt_fail(err, -errno, "%s: cannot read", path);
	if (n >= 8 && memcmp(head.magic, CKPT_IMAGE_MAGIC, 8))
		return ckpt_refuse(err, CKPT_E_IMAGE_FOREIGN, -EBADMSG, "%s: not an image of ckpt",
				   path);
	if (n < (ssize_t)sizeof(head))
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: header: the file ends in it", path);
	if (ckpt_crc32c(0, &head, offsetof(struct ckpt_image_header, crc)) != head.crc)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: header: checksum does not match", path);
	if (head.format > CKPT_IMAGE_SPREAD)
		return ckpt_refuse(err, CKPT_E_IMAGE_NEWER, -EBADMSG,
				   "%s: format %u is newer than %d", path, head.format,
				   CKPT_IMAGE_SPREAD);
	if (!head.format)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG, "%s: header: format 0",
				   path);
	return head.format;
}

int ckpt_records_scan(int fd, uint64_t size, const char *path,
		      int (*each)(void *arg, const struct ckpt_record_in *in, struct ckpt_err *err),
		      void *arg, struct ckpt_err *err)
{
	struct window w = { .fd = fd, .path = path, .size = size };
	struct ckpt_record_in in = { .path = path, .offset = sizeof(struct ckpt_image_header) };
	int r = 0;

	while (r == 0 && in.offset < size) {
		in.number++;
		r = read_one(&w, &in, err);
		if (r >= 0)
			r = each(arg, &in, err);
		in.offset += sizeof(in.head) + in.head.len;
	}
	free(w.buf);
	if (r > 0 && in.offset != size)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: %llu bytes follow its end", path,
				   (unsigned long long)(size - in.offset));
	return r;
}

struct budget {
	struct ckpt_arena *arena;
	size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *b = data;

	if (size > b->left)
		return NULL;
	if (!b->arena) {
		b->left -= size;
		return malloc(size);
	}
	if (size > ckpt_arena_left(b->arena))
		return NULL;
	b->left -= size;
	return ckpt_alloc(b->arena, size);
}

static void budget_free(void *data, void *p)
{
	struct budget *b = data;

	if (!b->arena)
		free(p);
}

/* A field that this version does not know would be lost silently. Depth: of message types, not of
 * data. */
static bool all_known(const ProtobufCMessage *msg, int depth)
{
	if (msg->n_unknown_fields || depth > DEPTH_MAX)
		return false;
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		const char *at = (const char *)msg + f->offset,
			   *n_at = (const char *)msg + f->quantifier_offset;
		const ProtobufCMessage *const *list = (const void *)at;
		size_t n = 1;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)n_at != f->id)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			n = *(const size_t *)n_at;
			list = *(const ProtobufCMessage *const *const *)at;
		}
		for (size_t k = 0; k < n; k++) {
			if (list[k] && !all_known(list[k], depth + 1))
				return false;
		}
	}
	return true;
}

ProtobufCMessage *ckpt_record_unpack(const struct ckpt_record_in *in,
				     const ProtobufCMessageDescriptor *type,
				     struct ckpt_arena *arena, const void *data, size_t len,
				     struct ckpt_err *err)
{
	struct budget budget = { arena, UNPACK_FACTOR * len + UNPACK_BASE + type->sizeof_message };
	ProtobufCAllocator allocator = { budget_alloc, budget_free, &budget };
	ProtobufCMessage *msg = protobuf_c_message_unpack(type, &allocator, len, data);

	if (!msg) {
		ckpt_record_damaged(err, in, "its message is malformed");
		return NULL;
	}
	if (all_known(msg, 0))
		return msg;
	ckpt_refuse(err, CKPT_E_IMAGE_NEWER, -EBADMSG,
		    "%s: record %llu (%s, at byte %llu): it has unknown fields", in->path,
		    (unsigned long long)in->number, in->kind, (unsigned long long)in->offset);
	if (!arena)
		protobuf_c_message_free_unpacked(msg, NULL);
	return NULL;
}

ProtobufCMessage *ckpt_record_unpack_body(const struct ckpt_record_in *in,
					  const ProtobufCMessageDescriptor *type,
					  struct ckpt_arena *arena, struct ckpt_err *err)
{
	Ckpt__Record *rec = (void *)ckpt_record_unpack(in, &ckpt__record__descriptor, NULL,
						       in->data, in->len, err);
	ProtobufCMessage *msg;

	if (!rec)
		return NULL;
	msg = ckpt_record_unpack(in, type, arena, rec->body.data, rec->body.len, err);
	ckpt__record__free_unpacked(rec, NULL);
	return msg;
}

int ckpt_record_check_trailer(const struct ckpt_record_in *in, const struct ckpt_chain *chain,
			      struct ckpt_err *err)
{
	Ckpt__Trailer *trailer =
		(void *)ckpt_record_unpack_body(in, &ckpt__trailer__descriptor, NULL, err);
	bool same;

	if (!trailer)
		return err->code;
	same = trailer->n_records == chain->n_records && trailer->crc == chain->crc &&
	       trailer->content_id == chain->content_id;
	ckpt__trailer__free_unpacked(trailer, NULL);
	return same ? 0 :
		      ckpt_record_damaged(err, in, "records are missing, or not in their order");
}
