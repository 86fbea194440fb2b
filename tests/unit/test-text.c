/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and lines as /proc writes them; the log. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "tests/lib/tap.h"

static bool u64_is(const char *s, int base, uint64_t want, const char *rest)
{
	const char *p = s;
	uint64_t v = 12345;

	return ckpt_parse_u64(&p, base, &v) && v == want && !strcmp(p, rest);
}

static bool no_u64(const char *s, int base)
{
	const char *p = s;
	uint64_t v;

	return !ckpt_parse_u64(&p, base, &v) && p == s;
}

static bool i64_is(const char *s, int64_t want, const char *rest)
{
	const char *p = s;
	int64_t v;

	return ckpt_parse_i64(&p, 10, &v) && v == want && !strcmp(p, rest);
}

static bool no_i64(const char *s)
{
	const char *p = s;
	int64_t v;

	return !ckpt_parse_i64(&p, 10, &v) && p == s;
}

static void numbers(void)
{
	ok(u64_is("0", 10, 0, ""), "zero");
	ok(u64_is("  \t42 kB", 10, 42, " kB"), "blanks before, text behind");
	ok(u64_is("7f00-7f01", 16, 0x7f00, "-7f01"), "a range");
	ok(u64_is("0xfF ", 16, 255, " "), "hexadecimal with prefix");
	ok(u64_is("0xg", 16, 0, "xg"), "a prefix without digits is a zero");
	ok(u64_is("0100002", 8, 0100002, ""), "octal");
	ok(u64_is("0x1f", 0, 31, ""), "told by the prefix: hexadecimal");
	ok(u64_is("017", 0, 15, ""), "told by the prefix: octal");
	ok(u64_is("17", 0, 17, ""), "told by the prefix: decimal");
	ok(u64_is("18446744073709551615", 10, UINT64_MAX, ""), "the largest");
	ok(no_u64("18446744073709551616", 10), "one more overflows");
	ok(no_u64("99999999999999999999999", 10), "much more overflows");
	ok(u64_is("ffffffffffffffff", 16, UINT64_MAX, ""), "the largest in hexadecimal");
	ok(no_u64("1ffffffffffffffff", 16), "hexadecimal overflows");
	ok(no_u64("", 10) && no_u64("x", 10) && no_u64("-1", 10) && no_u64("+1", 10) &&
		   no_u64("\n1", 10),
	   "no numbers");
	ok(no_u64("8", 8), "no octal digit");
	ok(i64_is("-5 x", -5, " x"), "negative");
	ok(i64_is("-9223372036854775808", INT64_MIN, ""), "the lowest");
	ok(i64_is("9223372036854775807", INT64_MAX, ""), "the highest");
	ok(no_i64("9223372036854775808") && no_i64("-9223372036854775809"), "beyond them");
	ok(no_i64("-") && no_i64("--1") && no_i64("- 1"), "lone signs");
}

static void lines(void)
{
	static const char text[] = "Name:\tsh\nSigQ:\t0/95\nSig:   7\nName: second\nempty:\n";

	ok(!strncmp(ckpt_line_after(text, "Name"), "sh\n", 3), "the first line");
	ok(!strncmp(ckpt_line_after(text, "Sig"), "7\n", 2), "a key that begins another");
	ok(*ckpt_line_after(text, "empty") == '\n', "nothing behind the key");
	ok(!ckpt_line_after(text, "sh") && !ckpt_line_after("", "Name"), "no such line");
	ok(!ckpt_line_after("Name", "Name"), "a key without colon");
	ok(ckpt_word_is("rw", "rw") && ckpt_word_is("rw x", "rw") && ckpt_word_is("rw\n", "rw") &&
		   ckpt_word_is("rw\t", "rw"),
	   "words and their ends");
	ok(!ckpt_word_is("rwx", "rw") && !ckpt_word_is("r", "rw"), "other words");
}

static void whole_files(struct ckpt_arena *arena)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 16385, 65536, 300000 };
	struct ckpt_err err;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd = memfd_create("text", 0);
		char *block = calloc(1, sizes[i] + 1), *text = NULL;
		size_t len = 0;
		int r;

		memset(block, 'a', sizes[i]);
		must(pwrite(fd, block, sizes[i], 0) == (ssize_t)sizes[i], "a file of %zu bytes",
		     sizes[i]);
		r = ckpt_read_all(arena, fd, &text, &len, &err);
		ok(r == 0 && len == sizes[i] && !strcmp(text, block),
		   "it is read whole, with a NUL");
		free(block);
		close(fd);
	}
	is(ckpt_read_all(arena, -1, &(char *){ NULL }, NULL, &err), -EBADF, "no file is an error");
}

static void log_lines(void)
{
	int fd = memfd_create("log", 0);
	char text[8192] = "", big[4000];
	struct ckpt_log log;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	ckpt_log_init(&log, fd, 2);
	ckpt_logf(NULL, 1, "nobody listens");
	ckpt_logf(&log, 3, "too fine");
	ckpt_logf(&log, 2, "a %d", 1);
	ckpt_logf(&log, 1, "b\n");
	ckpt_logf(&log, 1, "%s", big);
	must(pread(fd, text, sizeof(text) - 1, 0) > 0, "there is a log");
	ok(strstr(text, ") a 1\n(") && strstr(text, ") b\n(") && !strstr(text, "fine"),
	   "lines by level, one line end each");
	ok(!strncmp(text, "(00.000", 7), "with the time since the start");
	is(text[strlen(text) - 1], '\n', "a long line ends too");
	ok(strlen(text) < 2200, "and is cut");
	close(fd);
}

int main(void)
{
	struct ckpt_err err;
	struct ckpt_arena *arena;

	must(ckpt_arena_open(&arena, 64 << 20, &err) == 0, "an arena opens");
	numbers();
	lines();
	whole_files(arena);
	log_lines();
	ckpt_arena_close(arena);
	return tap_end();
}
