/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in hexadecimal, as hexdump -C does it. */
#include <inttypes.h>
#include <string.h>
#include "engine/look/extract.h"

#define ROW 16

static void print_row(uint64_t addr, const unsigned char *row, size_t n, FILE *out)
{
	char line[ROW * 3 + 2], text[ROW + 1];
	size_t at = 0;

	for (size_t i = 0; i < ROW; i++) {
		if (i == ROW / 2)
			line[at++] = ' ';
		if (i < n)
			at += sprintf(line + at, "%02x ", row[i]);
		else
			at += sprintf(line + at, "   ");
		if (i < n)
			text[i] = row[i] >= ' ' && row[i] < 0x7f ? row[i] : '.';
	}
	text[n] = 0;
	fprintf(out, "%016" PRIx64 "  %s |%s|\n", addr, line, text);
}

int ckpt_hex_print(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
		   uint64_t len, FILE *out, struct ckpt_err *err)
{
	unsigned char row[ROW], last[ROW];
	bool first = true, starred = false;

	for (uint64_t done = 0; done < len; done += ROW) {
		size_t n = len - done < ROW ? len - done : ROW;
		int r = ckpt_look_read(look, task, addr + done, row, n, err);

		if (r < 0)
			return r;
		if (!first && n == ROW && done + ROW < len && !memcmp(row, last, ROW)) {
			if (!starred)
				fprintf(out, "*\n");
			starred = true;
			continue;
		}
		print_row(addr + done, row, n, out);
		memcpy(last, row, ROW);
		first = starred = false;
	}
	return 0;
}
