/* SPDX-License-Identifier: Apache-2.0 */
/* Words are short: one write(2) takes a whole one, and they are read byte by byte, since something
 * else may follow. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/words.h"

#define WAIT_MS 100

static int gone(const struct ckpt_talk *t, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPIPE, "%s: the connection ended", t->where);
}

int ckpt_word_strange(const struct ckpt_talk *t, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPROTO, "%s: it says what ckpt does not",
			   t->where);
}

int ckpt_word_failed(const struct ckpt_talk *t, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -ECANCELED, "%s: it failed there", t->where);
}

int ckpt_word_say(const struct ckpt_talk *t, const char *word, struct ckpt_err *err)
{
	char line[CKPT_WORD_MAX + 2];
	int n = snprintf(line, sizeof(line), "%s\n", word);
	ssize_t done;

	do
		done = write(t->to, line, n); /* less than a pipe takes at once */
	while (done < 0 && (errno == EINTR || (errno == EAGAIN && poll(NULL, 0, 1) == 0)));
	return done == n ? 0 : gone(t, err);
}

int ckpt_word_hear(const struct ckpt_talk *t, char word[CKPT_WORD_MAX + 1], struct ckpt_err *err)
{
	struct pollfd there = { .fd = t->from, .events = POLLIN };
	size_t n = 0;

	for (;;) {
		int r = t->go_on ? t->go_on(t->go_on_arg, err) : 0;
		ssize_t got;

		if (r < 0)
			return r;
		if (poll(&there, 1, WAIT_MS) <= 0)
			continue;
		got = read(t->from, word + n, 1);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return gone(t, err);
		if (word[n] == '\n')
			break;
		if (++n > CKPT_WORD_MAX)
			return ckpt_word_strange(t, err);
	}
	word[n] = 0;
	return 0;
}

int ckpt_word_expect(const struct ckpt_talk *t, const char *word, bool *failedp,
		     struct ckpt_err *err)
{
	char heard[CKPT_WORD_MAX + 1];
	int r = ckpt_word_hear(t, heard, err);

	if (r < 0 || !strcmp(heard, word))
		return r;
	*failedp = !strcmp(heard, CKPT_WORD_FAILED);
	return *failedp ? ckpt_word_failed(t, err) : ckpt_word_strange(t, err);
}
