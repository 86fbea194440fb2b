/* SPDX-License-Identifier: Apache-2.0 */
/* CRC32C: the vectors of RFC 3720, and the fast one against the plain one. */
#include <stdint.h>
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "tests/lib/tap.h"

static void vectors(uint32_t (*crc)(uint32_t, const void *, size_t), const char *which)
{
	unsigned char zeros[32] = { 0 }, ones[32], up[32], down[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = 31 - i;
	}
	diag("%s", which);
	is(crc(0, "123456789", 9), 0xe3069283, "123456789");
	is(crc(0, zeros, 32), 0x8a9136aa, "zeros");
	is(crc(0, ones, 32), 0x62a8ab43, "ones");
	is(crc(0, up, 32), 0x46dd794e, "increasing");
	is(crc(0, down, 32), 0x113fdb5c, "decreasing");
	is(crc(0, "", 0), 0, "nothing");
	is(crc(crc(0, "1234", 4), "56789", 5), 0xe3069283, "in two pieces");
}

int main(void)
{
	static unsigned char buf[40000];
	uint64_t x = 1;
	unsigned int differ = 0;

	vectors(ckpt_crc32c_table, "by table");
	vectors(ckpt_crc32c, "by instruction");
	for (size_t i = 0; i < sizeof(buf); i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		buf[i] = x >> 56;
	}
	for (size_t len = 0; len <= 300; len++) {
		for (size_t at = 0; at < 16; at++)
			differ += ckpt_crc32c(len, buf + at, len) !=
				  ckpt_crc32c_table(len, buf + at, len);
	}
	is(differ, 0, "every length to 300 at every alignment");
	for (size_t len = 301; len < sizeof(buf) - 7; len += 61)
		differ += ckpt_crc32c(7, buf + len % 7, len) !=
			  ckpt_crc32c_table(7, buf + len % 7, len);
	is(differ, 0, "longer ones, of all streams");
	for (size_t i = 0; i < sizeof(buf); i += 997) {
		uint32_t before = ckpt_crc32c(0, buf, sizeof(buf));

		buf[i] ^= 1;
		differ += before == ckpt_crc32c(0, buf, sizeof(buf));
		buf[i] ^= 1;
	}
	is(differ, 0, "a flipped bit shows");
	differ = 0;
	for (size_t at = 0; at < sizeof(buf); at += 271) {
		size_t len = at * 7 % (sizeof(buf) - at) + 1;
		uint32_t whole = ckpt_crc32c(0, buf, sizeof(buf)),
			 old = ckpt_crc32c(0, buf + at, len);

		memset(buf + at, at, len / 2);
		whole = ckpt_crc32c_replace(whole, old, ckpt_crc32c(0, buf + at, len),
					    sizeof(buf) - at - len);
		differ += whole != ckpt_crc32c(0, buf, sizeof(buf));
	}
	is(differ, 0, "parts that were replaced");
	return tap_end();
}
