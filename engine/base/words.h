/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation with another ckpt, a word a line, over whatever connects them. */
#pragma once
#include <stdbool.h>
#include "engine/base/err.h"

#define CKPT_WORD_MAX 16
#define CKPT_WORD_FAILED "failed"

struct ckpt_talk {
	int to, from;      /* borrowed; may be the same */
	const char *where; /* the other side, for messages */
	/* Asked while a word is waited for; a failure ends it. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
};

int ckpt_word_say(const struct ckpt_talk *t, const char *word, struct ckpt_err *err);
/* Reads one, of CKPT_WORD_MAX characters at most, into WORD. */
int ckpt_word_hear(const struct ckpt_talk *t, char word[CKPT_WORD_MAX + 1], struct ckpt_err *err);
/* 0: it said WORD. *FAILEDP: it said that it has failed. */
int ckpt_word_expect(const struct ckpt_talk *t, const char *word, bool *failedp,
		     struct ckpt_err *err);
/* The two errors of that: it says so, or nobody knows what. */
int ckpt_word_failed(const struct ckpt_talk *t, struct ckpt_err *err);
int ckpt_word_strange(const struct ckpt_talk *t, struct ckpt_err *err);
