/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/model/rules.h"

static int wrong(struct ckpt_err *err, const char *text, const char *why)
{
	return ckpt_refuse(err, CKPT_E_RULE, -EINVAL, "rule \"%.300s\": %s", text, why);
}

static bool number(const char *s, uint64_t max, uint64_t *np)
{
	return ckpt_parse_u64(&s, 10, np) && !*s && *np <= max;
}

bool ckpt_action_parse(const char *text, struct ckpt_action *a)
{
	static const struct {
		const char *word;
		enum ckpt_act act;
	} words[] = { { "", CKPT_ACT_NONE },
		      { "drop", CKPT_ACT_DROP },
		      { "close", CKPT_ACT_CLOSE },
		      { "reconnect", CKPT_ACT_RECONNECT },
		      { "fail", CKPT_ACT_FAIL } };
	uint64_t n = 0;

	*a = (struct ckpt_action){ .fd = -1 };
	if (!strncmp(text, "fd:", 3) && number(text + 3, INT_MAX, &n)) {
		a->act = CKPT_ACT_FD;
		a->fd = n;
		return true;
	}
	if (!strncmp(text, "path:/", 6)) {
		a->act = CKPT_ACT_PATH;
		a->path = text + 5;
		return true;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(text, words[i].word)) {
			a->act = words[i].act;
			return true;
		}
	return false;
}

static const char *const terms[] = { "kind:", "path:", "key:", "id:", "process:", "fd:" };
#define N_TERMS (sizeof(terms) / sizeof(terms[0]))

/* Index of the term that S begins with; N_TERMS: of none. */
static size_t term_at(const char *s)
{
	size_t i = 0;

	while (i < N_TERMS && strncmp(s, terms[i], strlen(terms[i])) != 0)
		i++;
	return i;
}

static int take_term(struct ckpt_rule *r, char *s, struct ckpt_err *err)
{
	size_t i = term_at(s);
	char *value = i < N_TERMS ? s + strlen(terms[i]) : s;
	uint64_t n = 0;
	bool ok = *value;

	if (i == N_TERMS && ckpt_kind_find(s))
		r->kind = s;
	else if (i == N_TERMS && s[0] == '/')
		r->path = s;
	else if (i == N_TERMS || !strcmp(terms[i], "key:"))
		r->key = value;
	else if (i == 0)
		r->kind = value;
	else if (i == 1)
		r->path = value;
	else if ((ok = number(value, INT_MAX, &n)) && i == 3)
		r->id = n;
	else if (ok && i == 4)
		r->pid = n;
	else if (ok)
		r->fd = n;
	return ok ? 0 : wrong(err, r->text, "a number is expected after id:, process: and fd:");
}

/* A comma that is part of a path or key is one that no term follows. */
static int take_selector(struct ckpt_rule *r, char *s, struct ckpt_err *err)
{
	int code = *s ? 0 : wrong(err, r->text, "the selector is missing");

	while (s && code >= 0) {
		char *end = strchr(s, ',');

		while (end && term_at(end + 1) == N_TERMS)
			end = strchr(end + 1, ',');
		if (end)
			*end = '\0';
		code = take_term(r, s, err);
		s = end ? end + 1 : NULL;
	}
	return code;
}

static struct ckpt_rule *new_rule(struct ckpt_rules *rules, struct ckpt_arena *arena,
				  const char *text)
{
	rules->v = ckpt_grow(arena, rules->v, rules->n, &rules->room, 8, sizeof(*rules->v));
	rules->v[rules->n] = (struct ckpt_rule){ .text = ckpt_strdup(arena, text),
						 .fd = -1,
						 .action_text = "",
						 .action = { .fd = -1 } };
	return &rules->v[rules->n++];
}

/* Both halves may have a '=' in a path: the last one that an action follows counts. */
int ckpt_rules_add(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *text,
		   struct ckpt_err *err)
{
	struct ckpt_rule *r = new_rule(rules, arena, text);
	char *s = ckpt_strdup(arena, text);

	for (size_t i = strlen(s); i > 0; i--) {
		if (s[i - 1] != '=' || !ckpt_action_parse(s + i, &r->action) || !s[i])
			continue;
		s[i - 1] = '\0';
		r->action_text = s + i;
		return take_selector(r, s, err);
	}
	return wrong(err, text,
		     "it has to end with =fd:N, =path:/P, =drop, =close, =reconnect or =fail");
}

int ckpt_rules_add_external(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *key,
			    struct ckpt_err *err)
{
	static const char *const never[] = { "mnt[",  "net[",    "pid[",    "ipc[",
					     "uts[",  "user[",   "dev[",    "veth[",
					     "time[", "cgroup[", "macvlan[" };

	(void)err;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (!strncmp(key, never[i], strlen(never[i])))
			return 0;
	new_rule(rules, arena, key)->key = ckpt_strdup(arena, key);
	return 0;
}

int ckpt_rules_add_inherit(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *text,
			   struct ckpt_err *err)
{
	struct ckpt_rule *r;
	int fd, at = 0;
	char *action;

	if (sscanf(text, "fd[%d]:%n", &fd, &at) != 1 || !at || !text[at] || fd < 0)
		return ckpt_refuse(err, CKPT_E_RULE, -EINVAL,
				   "--inherit-fd: \"%.300s\" is not fd[N]:KEY", text);
	r = new_rule(rules, arena, text);
	r->key = ckpt_strdup(arena, text + at);
	r->action_text = action = ckpt_alloc(arena, 16);
	snprintf(action, 16, "fd:%d", fd);
	r->action = (struct ckpt_action){ .act = CKPT_ACT_FD, .fd = fd };
	return 0;
}

int ckpt_rules_add_file(struct ckpt_rules *rules, struct ckpt_arena *arena, const char *path,
			struct ckpt_err *err)
{
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text, *save = NULL;
	int r;

	if (fd < 0)
		return ckpt_refuse(err, CKPT_E_NOT_A_FILE, -errno, "rules %s: cannot open: %s",
				   path, strerrordesc_np(errno));
	r = ckpt_read_all(arena, fd, &text, NULL, err);
	if (r < 0)
		return ckpt_refuse(err, CKPT_E_NOT_A_FILE, r, "rules %s: %s", path, err->text);
	for (char *line = strtok_r(text, "\n", &save); line && r >= 0;
	     line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		if (*line && *line != '#')
			r = ckpt_in(err, ckpt_rules_add(rules, arena, line, err), "%s", path);
	}
	return r < 0 ? r : 0;
}

/* A key names a file as the kernel or as CRIU does; a path may lack its first slash there. */
static bool key_is(const char *key, const struct ckpt_object *obj)
{
	char text[64];

	if (obj->file.link && (!strcmp(key, obj->file.link) ||
			       (obj->file.link[0] == '/' && !strcmp(key, obj->file.link + 1))))
		return true;
	if (!strncmp(key, "unix[", 5))
		snprintf(text, sizeof(text), "unix[%llu]", (unsigned long long)obj->file.ino);
	else if (!strncmp(key, "tty[", 4))
		snprintf(text, sizeof(text), "tty[%llx:%llx]", (unsigned long long)obj->file.rdev,
			 (unsigned long long)obj->file.dev);
	else
		snprintf(text, sizeof(text), "file[%x:%llx]", obj->file.mount,
			 (unsigned long long)obj->file.ino);
	return !strcmp(key, text);
}

static bool wants(const struct ckpt_rule *r, const struct ckpt_object *obj, const char *kind,
		  pid_t pid, int fd)
{
	if ((r->kind && strcmp(r->kind, kind) != 0) || (r->id && r->id != obj->id) ||
	    (r->pid && r->pid != pid) || (r->fd >= 0 && (!pid || r->fd != fd)))
		return false;
	if (r->path && (!obj->file.link || fnmatch(r->path, obj->file.link, 0) != 0))
		return false;
	return !r->key || key_is(r->key, obj);
}

struct ckpt_rule *ckpt_rules_match(struct ckpt_rules *rules, const struct ckpt_object *obj,
				   const char *kind, pid_t pid, int fd)
{
	for (size_t i = 0; rules && i < rules->n; i++)
		if (wants(&rules->v[i], obj, kind, pid, fd)) {
			rules->v[i].used = true;
			return &rules->v[i];
		}
	return NULL;
}

void ckpt_rules_unused(const struct ckpt_rules *rules, const char *where,
		       struct ckpt_problems *problems)
{
	for (size_t i = 0; rules && i < rules->n; i++)
		if (!rules->v[i].used)
			ckpt_problem_add(problems, CKPT_E_RULE_UNUSED,
					 "rule \"%s\": matches nothing in the %s", rules->v[i].text,
					 where);
}
