/* SPDX-License-Identifier: Apache-2.0 */
/* The libraries check what they read and stay within what they are given. */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "engine/store/codec.h"

#define LEVEL_MAX 65537 /* of the acceleration of lz4 */

void ckpt_codec_close(struct ckpt_codec *c)
{
	ZSTD_freeCCtx(c->compressor);
	ZSTD_freeDCtx(c->decompressor);
	*c = (struct ckpt_codec){ 0 };
}

bool ckpt_all_zero(const void *data, size_t len)
{
	const char *p = data;

	/* Most pages tell in their first bytes. */
	for (size_t i = 0; i < len && i < 16; i++)
		if (p[i])
			return false;
	return len <= 16 || !memcmp(p, p + 16, len - 16);
}

bool ckpt_compression_parse(const char *text, struct ckpt_compression *how)
{
	static const struct {
		const char *name;
		Ckpt__Chunks__Method method;
	} known[] = { { "none", CKPT__CHUNKS__METHOD__ZERO },
		      { "lz4", CKPT__CHUNKS__METHOD__LZ4 },
		      { "zstd", CKPT__CHUNKS__METHOD__ZSTD } };
	size_t len = strcspn(text, ":");
	long level = 0, most = len == 3 ? LEVEL_MAX : ZSTD_maxCLevel();
	char *end;

	if (text[len]) {
		level = strtol(text + len + 1, &end, 10);
		if (*end || text[len + 1] < '1' || text[len + 1] > '9' || level > most)
			return false;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strlen(known[i].name) != len || strncmp(text, known[i].name, len))
			continue;
		*how = (struct ckpt_compression){ known[i].method, level };
		return i || !level;
	}
	return false;
}

static size_t by_zstd(struct ckpt_codec *c, int level, const void *in, size_t len, void *out,
		      size_t room)
{
	size_t n;

	if (!c->compressor)
		c->compressor = ZSTD_createCCtx();
	if (!c->compressor)
		return 0;
	n = ZSTD_compressCCtx(c->compressor, out, room, in, len, level);
	return ZSTD_isError(n) ? 0 : n;
}

size_t ckpt_compress(struct ckpt_codec *c, const struct ckpt_compression *how, const void *in,
		     size_t len, void *out)
{
	size_t room = len - len / 16; /* less than that is not worth the time to read it */
	int n;

	if (how->method == CKPT__CHUNKS__METHOD__ZSTD)
		return by_zstd(c, how->level, in, len, out, room);
	if (how->method != CKPT__CHUNKS__METHOD__LZ4)
		return 0;
	n = LZ4_compress_fast(in, out, len, room, how->level ? how->level : 1);
	return n > 0 ? n : 0;
}

bool ckpt_decompress(struct ckpt_codec *c, Ckpt__Chunks__Method method, const void *in,
		     size_t in_len, void *out, size_t len)
{
	switch ((int)method) {
	case CKPT__CHUNKS__METHOD__ZERO:
		memset(out, 0, len);
		return !in_len;
	case CKPT__CHUNKS__METHOD__PLAIN:
		if (in_len == len)
			memcpy(out, in, len);
		return in_len == len;
	case CKPT__CHUNKS__METHOD__LZ4:
		return LZ4_decompress_safe(in, out, in_len, len) == (int)len;
	case CKPT__CHUNKS__METHOD__ZSTD:
		if (!c->decompressor)
			c->decompressor = ZSTD_createDCtx();
		return c->decompressor &&
		       ZSTD_decompressDCtx(c->decompressor, out, len, in, in_len) == len;
	default:
		return false;
	}
}
