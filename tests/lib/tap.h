/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For unit tests: prints "ok 1 - what" lines, ends with the plan and an exit status for `make
 *check`.
 *
 *	int main(void)
 *	{
 *		is(2 + 2, 4, "two and two");
 *		return tap_end();
 *	}
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int tap_n, tap_failed;

/* A line of detail, for who reads the log. */
__attribute__((format(printf, 1, 2), unused)) static void diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

__attribute__((format(printf, 4, 5), unused)) static bool tap_ok(bool good, const char *file,
								 int line, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", good ? "" : "not ", ++tap_n);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!good) {
		tap_failed++;
		diag("failed at %s:%d", file, line);
	}
	fflush(stdout);
	return good;
}

__attribute__((unused)) static bool tap_is(long long got, long long want, const char *file,
					   int line, const char *what)
{
	bool good = tap_ok(got == want, file, line, "%s", what);

	if (!good)
		diag("is %lld (%#llx), not %lld (%#llx)", got, got, want, want);
	return good;
}

__attribute__((unused)) static bool tap_is_text(const char *got, const char *want, const char *file,
						int line, const char *what)
{
	bool good = tap_ok(got && !strcmp(got, want), file, line, "%s", what);

	if (!good)
		diag("is \"%s\", not \"%s\"", got ? got : "(null)", want);
	return good;
}

/* COND, then a printf of what is true; numbers; texts. Each says whether it passed. */
#define ok(cond, ...) tap_ok((cond), __FILE__, __LINE__, __VA_ARGS__)
#define is(got, want, what) tap_is((long long)(got), (long long)(want), __FILE__, __LINE__, what)
#define is_text(got, want, what) tap_is_text((got), (want), __FILE__, __LINE__, what)
/* Nothing after it makes sense otherwise. */
#define must(cond, ...)                     \
	do {                                \
		if (!ok(cond, __VA_ARGS__)) \
			exit(tap_end());    \
	} while (0)

/* The whole test cannot run here. */
__attribute__((unused, noreturn)) static void skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(77);
}

/* For main() to return. */
__attribute__((unused)) static int tap_end(void)
{
	printf("1..%u\n", tap_n);
	if (tap_failed)
		diag("%u of %u failed", tap_failed, tap_n);
	return tap_failed || !tap_n;
}
