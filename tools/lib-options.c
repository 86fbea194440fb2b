/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the command line by the table. Options may stand before and after the
 * command and be abbreviated, as with CRIU; short ones may be joined. What an
 * option means is not known here but for the type of its value.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/ckpt.h"

struct cursor {
	struct ckpt_options *o;
	struct ckpt_err *err;
	int argc, i; /* I: the argument that is being read */
	char **argv;
	const char *origin; /* NULL: the command line */
};

static int usage(struct ckpt_err *err, const char *what, const char *why)
{
	/* A plain failure without the text of an errno: nothing went wrong but the words. */
	ckpt_refuse(err, CKPT_E_NONE, -EINVAL, "%s: %s (see `ckpt help`)", what, why);
	return -EINVAL;
}

/* A name or letter may stand for another thing in another command: what is meant is known only when
 * the command came before it. */
static bool foreign_row(const struct ckpt_options *o, const struct ckpt_option *p)
{
	unsigned int command = o->command ? o->command->bit : CKPT_CMD_CRIU;

	if (p->in & command)
		return false;
	for (const struct ckpt_option *q = ckpt_option_table; q->name; q++)
		if (q != p && (q->in & command) &&
		    (!strcmp(q->name, p->name) || (q->letter && q->letter == p->letter)))
			return true;
	return p->ours && (command & CKPT_CMD_CRIU);
}

static const struct ckpt_option *by_name(const struct ckpt_options *o, const char *name, size_t len,
					 bool *ambiguous)
{
	const struct ckpt_option *found = NULL;

	*ambiguous = false;
	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++) {
		if (strncmp(p->name, name, len) || (foreign_row(o, p) && p->name[len]))
			continue;
		if (!p->name[len] && foreign_row(o, p)) {
			/* Still better than "there is no such option". */
			found = found ? found : p;
			continue;
		}
		if (!p->name[len]) {
			*ambiguous = false;
			return p;
		}
		*ambiguous = *ambiguous || found;
		found = p;
	}
	return *ambiguous ? NULL : found;
}

static const struct ckpt_option *by_letter(const struct ckpt_options *o, char letter)
{
	const struct ckpt_option *found = NULL;

	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++) {
		if (p->letter != letter)
			continue;
		if (!foreign_row(o, p))
			return p;
		found = found ? found : p;
	}
	return found;
}

/* Is the option understood by that command? */
static bool belongs(const struct ckpt_option *opt, unsigned int command)
{
	return (opt->in & command) || command == CKPT_CMD_CONFIG ||
	       (!opt->ours && (command & CKPT_CMD_CRIU));
}

static bool number(const char *s, unsigned long max, unsigned long *valuep)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*valuep = strtoul(s, &end, 10);
	return !errno && !*end && *valuep <= max;
}

/* "300", "1k", "20M", "3G": powers of 1024. */
static bool size(const char *s, uint64_t *bytesp)
{
	static const char unit[] = "KMG";
	const char *u;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*bytesp = strtoull(s, &end, 10);
	u = *end ? strchr(unit, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;
	if (errno || (*end && (!u || end[1])))
		return false;
	return !u || !__builtin_mul_overflow(*bytesp, 1ull << 10 * (u - unit + 1), bytesp);
}

static bool one_of(const char *choices, const char *s)
{
	size_t len = strlen(s);

	for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (len && !strncmp(p, s, len) && (p[len] == '|' || !p[len]))
			return true;
	return false;
}

static const char *append(struct ckpt_option_list *list, const char *text)
{
	if (list->n == CKPT_MAX_LIST)
		return "one of at most 256: put them into a file";
	list->v[list->n++] = text;
	return NULL;
}

/* The kind of value that was expected, NULL if TEXT is one; it is then stored at FIELD unless that
 * is NULL. */
static const char *take(const struct ckpt_option *opt, const char *text, void *field)
{
	struct ckpt_compression how;
	unsigned long n = 0;
	uint64_t bytes = 0;

	switch (opt->type) {
	case CKPT_OPT_PID:
		if (!number(text, INT_MAX, &n) || !n)
			return "a process number";
		if (field)
			*(pid_t *)field = n;
		return NULL;
	case CKPT_OPT_NUMBER:
		if (!number(text, INT_MAX, &n))
			return "a number";
		if (field)
			*(unsigned int *)field = n;
		return NULL;
	case CKPT_OPT_LEVEL:
		if (!number(text, INT_MAX, &n))
			return "a level from 0 to 4";
		if (field)
			*(int *)field = n > 4 ? 4 : n;
		return NULL;
	case CKPT_OPT_SIZE:
		if (!size(text, &bytes))
			return "a size: digits, then K, M or G or nothing";
		if (field)
			*(uint64_t *)field = bytes;
		return NULL;
	case CKPT_OPT_CHOICE:
		if (!one_of(opt->value, text))
			return opt->value;
		if (field)
			*(const char **)field = text;
		return NULL;
	case CKPT_OPT_METHOD:
		if (!ckpt_compression_parse(text, &how))
			return "lz4, zstd, zstd:LEVEL or none";
		if (field)
			*(struct ckpt_compression *)field = how;
		return NULL;
	case CKPT_OPT_LIST:
		return *text ? append(field, text) : "a value that is not empty";
	case CKPT_OPT_TEXT:
	case CKPT_OPT_FLAG:
		break;
	}
	if (!*text)
		return "a value that is not empty";
	if (field)
		*(const char **)field = text;
	return NULL;
}

static int check_value(struct cursor *c, const struct ckpt_option *opt, const char *shown,
		       const char *value, void *field)
{
	const char *expected = value ? take(opt, value, field) : NULL;

	if (!expected)
		return 0;
	return ckpt_refuse(c->err, CKPT_E_NONE, -EINVAL, "%s: \"%s\" is not %s%s (see `ckpt help`)",
			   shown, value, opt->type == CKPT_OPT_CHOICE ? "one of " : "", expected);
}

static int set(struct cursor *c, const struct ckpt_option *opt, const char *shown,
	       const char *value, bool on)
{
	void *field = opt->fate == CKPT_WORKS ? (char *)c->o + opt->at : NULL;
	size_t i = opt - ckpt_option_table;

	if (!value && opt->type == CKPT_OPT_METHOD)
		value = "lz4";
	/* A file is for all commands: it may say what means nothing to this one. */
	if (c->origin && c->o->command && !belongs(opt, c->o->command->bit))
		return check_value(c, opt, shown, value, NULL);
	/* Asked for what is done anyway: no note. */
	c->o->seen[i] = on && !(opt->fate == CKPT_NOTED && value && !strcmp(value, "ignore"));
	c->o->given[i] = value ? value : on ? "yes" : "no";
	c->o->origin[i] = c->origin ? c->origin : "command line";
	if (opt->type == CKPT_OPT_FLAG) {
		if (field)
			*(bool *)field = on;
		return 0;
	}
	if (!value && opt->type == CKPT_OPT_LEVEL) {
		int *level = field;

		*level = *level < 0 ? 1 : *level < 4 ? *level + 1 : 4;
		return 0;
	}
	/* The first one is meant. */
	if (!value && opt->type == CKPT_OPT_CHOICE && field)
		*(const char **)field = opt->value;
	return check_value(c, opt, shown, value, field);
}

/* The next argument, if it is what OPT may have. */
static const char *apart(struct cursor *c, const struct ckpt_option *opt)
{
	const char *next = c->i + 1 < c->argc ? c->argv[c->i + 1] : NULL;

	if (opt->type != CKPT_OPT_METHOD || !next || take(opt, next, NULL))
		return NULL;
	c->i++;
	return next;
}

/* The value of an option that must have one: attached, or the next argument. */
static const char *value_of(struct cursor *c, const char *attached)
{
	if (attached)
		return attached;
	return c->i + 1 < c->argc ? c->argv[++c->i] : NULL;
}

static int read_long(struct cursor *c, const char *arg)
{
	const char *name = arg + 2, *eq = strchr(name, '='), *value;
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	bool on = true, ambiguous;
	const struct ckpt_option *opt = by_name(c->o, name, len, &ambiguous);

	if (!opt && !ambiguous && len > 3 && !strncmp(name, "no-", 3)) {
		opt = by_name(c->o, name + 3, len - 3, &ambiguous);
		on = false;
	}
	if (ambiguous)
		return usage(c->err, arg, "more than one option begins like this");
	if (!opt || (!on && opt->type != CKPT_OPT_FLAG))
		return usage(c->err, arg, "there is no such option");
	if (opt->type == CKPT_OPT_FLAG && eq)
		return usage(c->err, arg, "this option takes no value");
	if (opt->type == CKPT_OPT_FLAG || opt->optional)
		return set(c, opt, arg, eq ? eq + 1 : apart(c, opt), on);
	value = value_of(c, eq ? eq + 1 : NULL);
	if (!value)
		return usage(c->err, arg, "the value is missing");
	return set(c, opt, arg, value, true);
}

/* -jR, -t 4711, -t4711, -vvv, -v4 */
static int read_short(struct cursor *c, const char *arg)
{
	for (const char *p = arg + 1; *p; p++) {
		const struct ckpt_option *opt = by_letter(c->o, *p);
		const char shown[3] = { '-', *p, 0 }, *value = p[1] ? p + 1 : NULL;
		int r;

		if (!opt)
			return usage(c->err, shown, "there is no such option");
		if (opt->type == CKPT_OPT_FLAG ||
		    (opt->type == CKPT_OPT_LEVEL && (!value || *value < '0' || *value > '9'))) {
			r = set(c, opt, shown, NULL, true);
			if (r < 0)
				return r;
			continue;
		}
		value = !opt->optional ? value_of(c, value) : value ? value : apart(c, opt);
		if (!value && !opt->optional)
			return usage(c->err, shown, "the value is missing");
		return set(c, opt, shown, value, true);
	}
	return 0;
}

static const struct {
	const char *name, *instead;
} foreign[] = {
	{ "service", "there is no service: run `ckpt dump` and `ckpt restore`" },
	{ "swrk", "there is no service: run `ckpt dump` and `ckpt restore`" },
	{ "cpuinfo", "the processor is compared by every restore: see `ckpt plan`" },
	{ "exec", "use `ckpt check -t PID`" },
};

static int take_command(struct cursor *c, const char *word, unsigned int *n_wordsp)
{
	const struct ckpt_command *cmd = ckpt_commands;

	if (*n_wordsp == 0 && !strcmp(word, "help")) {
		c->o->help = true;
		return 0;
	}
	++*n_wordsp;
	while (cmd->name && strcmp(cmd->name, word))
		cmd++;
	if (cmd->name && c->o->command && !c->o->command->most_words)
		return usage(c->err, word, "there is another command already");
	if (cmd->name && !c->o->command) {
		c->o->command = cmd;
		return 0;
	}
	if (c->o->command && c->o->n_words < c->o->command->most_words) {
		c->o->words[c->o->n_words++] = word;
		return 0;
	}
	if (c->o->command)
		return usage(c->err, word,
			     "an option begins with -, and there is a command already");
	if (c->o->help && !c->o->topic && !strcmp(word, "options")) {
		c->o->topic = word;
		return 0;
	}
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (!strcmp(foreign[i].name, word))
			return ckpt_refuse(c->err, CKPT_E_COMMAND, -EOPNOTSUPP,
					   "%s: cannot do that; %s", word, foreign[i].instead);
	return usage(c->err, word, "there is no such command");
}

/* What can only be judged when all has been read. */
static int judge(const struct ckpt_options *o, struct ckpt_err *err)
{
	char shown[64];

	if (o->help || o->version)
		return 0;
	if (!o->command)
		return usage(err, "command", "one is missing");
	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++) {
		if (!o->seen[p - ckpt_option_table])
			continue;
		snprintf(shown, sizeof(shown), "--%s", p->name);
		if (o->command->bit == CKPT_CMD_CONFIG)
			continue;
		if (!belongs(p, o->command->bit))
			return ckpt_refuse(err, CKPT_E_NONE, -EINVAL,
					   "%s: ckpt %s has no such option (see `ckpt help %s`)",
					   shown, o->command->name, o->command->name);
		if (p->fate == CKPT_REFUSED)
			return ckpt_refuse(err, CKPT_E_OPTION, -EOPNOTSUPP, "%s: %s", shown,
					   p->text);
	}
	if (o->n_words < o->command->least_words)
		return usage(err, o->command->name, o->command->usage);
	if (o->command->bit & (CKPT_CMD_DUMP | CKPT_CMD_PRE_DUMP) && !o->tree)
		return usage(err, o->command->name, "--tree PID (-t) is missing");
	if (o->command->bit == CKPT_CMD_DUMP && o->leave_running && o->leave_stopped)
		return usage(err, "dump", "choose between --leave-running and --leave-stopped");
	if (o->command->bit == CKPT_CMD_PAGE_SERVER && !strcmp(o->images_dir, "-"))
		return ckpt_refuse(err, CKPT_E_USAGE, -EINVAL,
				   "page-server: -D -: it puts an image into a folder");
	if (o->command->bit == CKPT_CMD_SHOW && o->file_list && o->json)
		return usage(err, "show", "choose between --file-list and --json");
	if (o->command->bit == CKPT_CMD_FLATTEN && !o->output)
		return usage(err, o->command->name, "--output OUT (-o) is missing");
	if (o->command->bit == CKPT_CMD_RESTORE && o->sibling && !o->detached)
		return usage(err, "restore",
			     "--restore-sibling (-S) needs --restore-detached (-d)");
	return 0;
}

void ckpt_options_init(struct ckpt_options *o)
{
	*o = (struct ckpt_options){ .images_dir = ".",
				    .verbosity = -1,
				    .link_remap = true,
				    .track_timeout = 3600,
				    .ps_socket = CKPT_NOT_GIVEN,
				    .status_fd = CKPT_NOT_GIVEN,
				    .timeout = 10 };
}

static int read_args(struct cursor *c)
{
	bool only_words = false;
	unsigned int n_words = 0;
	int r = 0;

	for (; c->i < c->argc && r >= 0; c->i++) {
		const char *arg = c->argv[c->i];

		if (!only_words && !strcmp(arg, "--"))
			only_words = true;
		else if (only_words || arg[0] != '-' || !arg[1])
			r = take_command(c, arg, &n_words);
		else if (arg[1] == '-')
			r = read_long(c, arg);
		else
			r = read_short(c, arg);
	}
	return r;
}

int ckpt_options_apply(struct ckpt_options *o, const char *arg, const char *origin,
		       struct ckpt_err *err)
{
	struct cursor c = { .o = o, .err = err, .argc = 1, .origin = origin };

	return read_long(&c, arg);
}

/* Twice: the command line says which files are read first, and wins over them. */
int ckpt_options_parse(struct ckpt_options *o, int argc, char **argv, struct ckpt_err *err)
{
	struct cursor c = { .o = o, .err = err, .argc = argc, .i = 1, .argv = argv };
	const struct ckpt_command *command;
	const char *config;
	bool no_default;
	int r;

	ckpt_options_init(o);
	r = read_args(&c);
	if (r < 0 || !o->command || o->help || o->version)
		return r < 0 ? r : judge(o, err);
	config = o->config;
	no_default = o->no_default_config;
	command = o->command;
	ckpt_options_init(o);
	o->command = command;
	r = ckpt_config_read(o, argv[0], config, no_default, err);
	if (r < 0)
		return r;
	o->command = NULL;
	c.i = 1;
	r = read_args(&c);
	return r < 0 ? r : judge(o, err);
}
