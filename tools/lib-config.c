/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files, in the syntax of CRIU: an option a line, without the dashes, its value
 * behind a blank or '=', quoted if it has blanks; what follows a '#' is a comment. Later ones win,
 * and the command line over all of them. What is wrong is named with file and line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/ckpt.h"

#define MAX_BYTES (1u << 20)

/* What was read lives as long as the options: they point into it. */
struct ckpt_config_text {
	struct ckpt_config_text *next;
	char text[];
};

static char *keep(struct ckpt_options *o, size_t size)
{
	struct ckpt_config_text *t = calloc(1, sizeof(*t) + size);

	if (!t)
		abort();
	t->next = o->config_texts;
	o->config_texts = t;
	return t->text;
}

static int bad_line(const char *path, size_t line, const char *why, struct ckpt_err *err)
{
	char copy[sizeof(err->text)];

	snprintf(copy, sizeof(copy), "%s", why);
	return ckpt_refuse(err, CKPT_E_CONFIG, -EINVAL, "%s: line %zu: %.*s", path, line,
			   (int)strcspn(copy, "("), copy);
}

/* Takes the next word out of *LINEP, in place; NULL at the end, *BADP if a quote is open. */
static char *next_word(char **linep, bool *badp)
{
	char *from = *linep + strspn(*linep, " \t\r"), *word = from, *to = from, quote = 0;

	if (!*from || *from == '#')
		return NULL;
	for (; *from && (quote || !strchr(" \t\r", *from)); from++) {
		if (!quote && *from == '#')
			break;
		if (*from == '\\' && from[1])
			*to++ = *++from;
		else if (quote ? *from == quote : *from == '"' || *from == '\'')
			quote = quote ? 0 : *from;
		else
			*to++ = *from;
	}
	*badp |= quote;
	*linep = from + (*from && *from != '#');
	/* A comment goes on to the end. */
	if (*from == '#')
		*linep = from + strlen(from);
	*to = '\0';
	return word;
}

static bool is_text(const char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < ' ' && !strchr("\t\r", *line))
			return false;
	return true;
}

static int take_line(struct ckpt_options *o, const char *path, size_t n, char *line,
		     struct ckpt_err *err)
{
	bool bad = !is_text(line);
	char *name = bad ? NULL : next_word(&line, &bad);
	char *value = name ? next_word(&line, &bad) : NULL;
	char *more = value ? next_word(&line, &bad) : NULL, *arg, *origin;
	size_t size;

	if (bad)
		return bad_line(path, n, "is no text, or a quote is not closed", err);
	if (!name)
		return 0;
	if (more || (value && strchr(name, '=')))
		return bad_line(path, n,
				"an option has one value, quoted if there are blanks in it", err);
	if (name[0] == '-')
		return bad_line(path, n, "options are written without the dashes", err);
	if (!strncmp(name, "config", strcspn(name, "=")) && strcspn(name, "=") == 6)
		return bad_line(path, n, "a configuration file cannot name another one", err);
	size = strlen(name) + (value ? strlen(value) : 0) + 4;
	arg = keep(o, size);
	snprintf(arg, size, "--%s%s%s", name, value ? "=" : "", value ? value : "");
	origin = keep(o, strlen(path) + 32);
	sprintf(origin, "%s:%zu", path, n);
	if (ckpt_options_apply(o, arg, origin, err) < 0)
		return bad_line(path, n, err->text, err);
	return 0;
}

static int cannot_read(const char *path, int code, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_CONFIG_FILE, code, "configuration file %s: cannot read: %s",
			   path, strerrordesc_np(-code));
}

/* MUST: it has been asked for by name. */
static int read_file(struct ckpt_options *o, const char *path, bool must, struct ckpt_err *err)
{
	char *text, *line, *copy;
	size_t n = 0, len = 0;
	ssize_t got;

	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && !must && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return cannot_read(path, -errno, err);
	text = keep(o, MAX_BYTES + 1);
	while ((got = read(fd, text + len, MAX_BYTES - len)) > 0)
		len += got;
	if (got < 0)
		return cannot_read(path, -errno, err);
	if (len == MAX_BYTES)
		return cannot_read(path, -EFBIG, err);
	if (strlen(text) != len)
		return bad_line(path, 1, "is no text", err);
	copy = keep(o, strlen(path) + 1);
	strcpy(copy, path);
	while ((line = strsep(&text, "\n"))) {
		int r = take_line(o, copy, ++n, line, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_home(struct ckpt_options *o, const char *name, struct ckpt_err *err)
{
	const char *home = getenv("HOME");
	char path[4096];

	/* Of another user, after setpriv(1): no home of ours. */
	if (!home || home[0] != '/' || access(home, X_OK) < 0 ||
	    snprintf(path, sizeof(path), "%s/%s", home, name) >= (int)sizeof(path))
		return 0;
	return read_file(o, path, false, err);
}

static int read_default(struct ckpt_options *o, bool as_criu, struct ckpt_err *err)
{
	int r = read_file(o, as_criu ? "/etc/criu/default.conf" : "/etc/ckpt/default.conf", false,
			  err);

	if (r >= 0 && as_criu)
		r = read_file(o, "/etc/criu/runc.conf", false, err);
	if (r >= 0)
		r = read_home(o, as_criu ? ".criu/default.conf" : ".config/ckpt/default.conf", err);
	return r;
}

int ckpt_config_read(struct ckpt_options *o, const char *program, const char *config,
		     bool no_default, struct ckpt_err *err)
{
	const char *last = strrchr(program, '/');
	bool as_criu = !strcmp(last ? last + 1 : program, "criu");
	const char *named = getenv(as_criu ? "CRIU_CONFIG_FILE" : "CKPT_CONFIG_FILE");
	int r = no_default ? 0 : read_default(o, as_criu, err);

	if (r >= 0 && named && *named && !no_default)
		r = read_file(o, named, true, err);
	if (r >= 0 && config)
		r = read_file(o, config, true, err);
	return r;
}
