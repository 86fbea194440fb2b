/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a negative errno to branch on, and one message for a person. What a
 * user can act on carries a stable code from the catalogue (codes.h), which
 * also holds the remedy.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include "engine/base/codes.h"

struct ckpt_err {
	int code;              /* negative errno of the origin, 0 while none */
	enum ckpt_code number; /* of the catalogue, CKPT_E_NONE for a plain failure */
	char text[1020];       /* "outer context: inner context: cause", no code, no remedy */
};
/* clang-format off */
#define CKPT_ERR_INIT { 0, CKPT_E_NONE, "" }
/* clang-format on */

/* Records the origin of an error; returns CODE (negative), for `return ckpt_fail(...)`.
 * The text of errno CODE is appended when FMT ends in a colon-less clause: ": No such file ...". */
int ckpt_fail(struct ckpt_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));
/* The same for a failure of the catalogue, which brings its remedy; no text of errno is appended.
 */
int ckpt_refuse(struct ckpt_err *err, enum ckpt_code number, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), cold));
/* Adds context in front of the recorded error when CODE is negative; returns CODE. */
int ckpt_in(struct ckpt_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The whole sentence: "CKPT-E0203: text; remedy" or just the text; what ran out (memory, space,
 * descriptors) always has a number. At most SIZE bytes with the NUL. */
void ckpt_err_sentence(const struct ckpt_err *err, char *buf, size_t size);
/* What a tool exits with: 1, or 3 for what is not supported. */
int ckpt_err_exit_status(const struct ckpt_err *err);
