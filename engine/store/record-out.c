/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records, as they are written. A body is packed straight behind its envelope: "body" is the last
 * field of Record, so that its tag and length can be put there by hand and nothing is packed twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "engine/store/record.h"

#define BUFFER (256u << 10)
#define BODY_TAG 0x32 /* field 6, length-delimited */

char *ckpt_image_folder_name(struct ckpt_arena *arena, const char *dir)
{
	char *name = ckpt_strdup(arena, dir);
	size_t n = strlen(name);

	while (n > 1 && name[n - 1] == '/')
		name[--n] = '\0';
	return name;
}

int ckpt_image_write_error(struct ckpt_err *err, int code, const char *dir, const char *what)
{
	const char *cause = strerrordesc_np(-code);

	if (code == -ENOSPC || code == -EDQUOT || code == -EFBIG)
		return ckpt_refuse(err, CKPT_E_NO_SPACE, code, "%s/%s: cannot write: %s", dir, what,
				   cause);
	if (code == -EACCES || code == -EPERM || code == -EROFS)
		return ckpt_refuse(err, CKPT_E_IMAGE_UNWRITABLE, code, "%s/%s: cannot write: %s",
				   dir, what, cause);
	return ckpt_fail(err, code, "%s/%s: cannot write", dir, what);
}

void ckpt_chain_add(struct ckpt_chain *chain, const struct ckpt_record_header *head)
{
	uint64_t x = chain->content_id ^ ((uint64_t)head->len << 32 | head->crc);

	/* Any good mixing does: it has to tell images apart, the checksum has to find damage. */
	x = (x + 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
	chain->content_id = x ^ x >> 29;
	chain->crc = ckpt_crc32c(chain->crc, &head->crc, sizeof(head->crc));
	chain->n_records++;
}

void ckpt_record_out_format(struct ckpt_record_out *out, uint32_t format)
{
	struct ckpt_image_header head = { CKPT_IMAGE_MAGIC, format, 0 };

	head.crc = ckpt_crc32c(0, &head, offsetof(struct ckpt_image_header, crc));
	memcpy(out->buf, &head, sizeof(head));
	out->used = sizeof(head);
}

int ckpt_record_out_open(struct ckpt_record_out *out, int fd, const char *dir, struct ckpt_err *err)
{
	*out = (struct ckpt_record_out){ .fd = fd,
					 .dir = dir,
					 .name = CKPT_IMAGE_NAME,
					 .size = BUFFER,
					 .buf = malloc(BUFFER) };
	if (!out->buf)
		return ckpt_fail(err, -ENOMEM, "%s/%s: cannot write", dir, CKPT_IMAGE_NAME);
	ckpt_record_out_format(out, CKPT_IMAGE_FORMAT);
	return 0;
}

void ckpt_record_out_close(struct ckpt_record_out *out)
{
	free(out->buf);
	out->buf = NULL;
}

int ckpt_record_out_flush(struct ckpt_record_out *out, struct ckpt_err *err)
{
	size_t done = 0;

	while (done < out->used) {
		ssize_t n = write(out->fd, out->buf + done, out->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_image_write_error(err, n ? -errno : -EIO, out->dir, out->name);
		done += n;
	}
	out->written += done;
	out->used = 0;
	return 0;
}

static int make_room(struct ckpt_record_out *out, size_t need, struct ckpt_err *err)
{
	unsigned char *bigger;
	int r;

	if (out->size - out->used >= need)
		return 0;
	r = ckpt_record_out_flush(out, err);
	if (r < 0 || out->size >= need)
		return r;
	bigger = realloc(out->buf, need);
	if (!bigger)
		return ckpt_fail(err, -ENOMEM, "%s/%s: cannot write", out->dir, out->name);
	out->buf = bigger;
	out->size = need;
	return 0;
}

static size_t put_varint(unsigned char *p, size_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		p[n++] = value | 0x80;
	p[n++] = value;
	return n;
}

int ckpt_record_write(struct ckpt_record_out *out, const Ckpt__Record *rec,
		      const ProtobufCMessage *body, struct ckpt_err *err)
{
	size_t envelope = ckpt__record__get_packed_size(rec), len = envelope, body_len = 0,
	       n_len = 0;
	unsigned char varint[10], *p;
	struct ckpt_record_header head;
	int r;

	if (body) {
		body_len = protobuf_c_message_get_packed_size(body);
		n_len = put_varint(varint, body_len);
		len += 1 + n_len + body_len;
	}
	if (len > CKPT_RECORD_MAX)
		return ckpt_fail(err, -EFBIG, "%s/%s: cannot write %s %u of %zu bytes", out->dir,
				 out->name, rec->kind, rec->has_id ? rec->id : rec->task, len);
	r = make_room(out, sizeof(head) + len, err);
	if (r < 0)
		return r;
	p = out->buf + out->used + sizeof(head);
	ckpt__record__pack(rec, p);
	if (body) {
		p[envelope] = BODY_TAG;
		memcpy(p + envelope + 1, varint, n_len);
		protobuf_c_message_pack(body, p + envelope + 1 + n_len);
	}
	head.len = len;
	head.crc = ckpt_crc32c(ckpt_crc32c(0, &head.len, sizeof(head.len)), p, len);
	memcpy(p - sizeof(head), &head, sizeof(head));
	out->used += sizeof(head) + len;
	ckpt_chain_add(&out->chain, &head);
	return 0;
}

int ckpt_record_write_trailer(struct ckpt_record_out *out, struct ckpt_err *err)
{
	Ckpt__Trailer trailer = CKPT__TRAILER__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;
	int r;

	trailer.n_records = out->chain.n_records;
	trailer.crc = out->chain.crc;
	trailer.content_id = out->chain.content_id;
	rec.kind = (char *)"trailer";
	r = ckpt_record_write(out, &rec, &trailer.base, err);
	return r < 0 ? r : ckpt_record_out_flush(out, err);
}
