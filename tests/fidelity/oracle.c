/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects what /proc says of processes and threads into sorted lines.
 */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

void oracle_add(struct oracle *o, const char *value, const char *fmt, ...)
{
	va_list ap;

	if (o->n == o->room) {
		o->room = o->room ? 2 * o->room : 256;
		o->v = realloc(o->v, o->room * sizeof(*o->v));
		if (!o->v)
			abort();
	}
	va_start(ap, fmt);
	if (vasprintf(&o->v[o->n].key, fmt, ap) < 0)
		abort();
	va_end(ap);
	o->v[o->n++].value = strdup(value);
}

/* A file that is deleted again gets another name in between where its own has been taken:
 * "NAME.ckpt-1-2 (deleted)". One that never had a name is shown with its inode: "#12 (deleted)". */
static void drop_spare_name(char *link)
{
	char *spare = strstr(link, ".ckpt-"), *tail = strstr(link, " (deleted)");

	if (!spare && strstr(link, "/#"))
		spare = strstr(link, "/#") + 2;
	if (spare && tail && spare < tail)
		memmove(spare, tail, strlen(tail) + 1);
}

/* "pipe:[123]" as "pipe:[#1]". */
static void add_link(struct oracle *o, const char *path, const char *key)
{
	char link[PATH_MAX + 32], *bracket;
	ssize_t n = readlink(path, link, PATH_MAX);
	size_t i;

	if (n < 0)
		return;
	link[n] = 0;
	drop_spare_name(link);
	bracket = strchr(link, '[');
	if (bracket && link[0] != '/' && isdigit((unsigned char)bracket[1])) {
		unsigned long ino = strtoul(bracket + 1, NULL, 10);

		for (i = 0; i < o->n_inodes && o->inodes[i] != ino; i++)
			;
		if (i == o->n_inodes && i < ARRAY_SIZE(o->inodes))
			o->inodes[o->n_inodes++] = ino;
		sprintf(bracket, "[#%zu]", i);
	}
	oracle_add(o, link, "%s", key);
}

static unsigned long hash(const char *text, size_t len)
{
	unsigned long h = 14695981039346656037ul;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211ul;
	return h;
}

static void add_hash(struct oracle *o, const char *path, const char *key)
{
	char value[64];
	size_t len;
	char *text = test_read(path, &len);

	if (!text)
		return;
	snprintf(value, sizeof(value), "%zu bytes, hash %016lx", len, hash(text, len));
	oracle_add(o, value, "%s", key);
	free(text);
}

static void add_text(struct oracle *o, const char *path, const char *key)
{
	char *text = test_read(path, NULL);

	if (text)
		oracle_add(o, text, "%s", key);
	free(text);
}

/* A process that has ended has no more rights, masks or waiting signals: what its parent can learn
 * of it is left. */
static bool of_zombie(const char *line)
{
	static const char *const kept[] = { "State", "Uid", "NStgid", "NSpid", "NSpgid", "NSsid" };

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (!strcmp(line, kept[i]))
			return true;
	return false;
}

/* "1: POSIX  ADVISORY  WRITE 123 08:01:99 0 EOF": the process as it sees itself, and no inode,
 * which is another one where the file was made anew. */
static void plain_lock(char *line)
{
	char sort[16], state[16], mode[16], range[80];
	int pid;

	if (sscanf(line, "%*s %15s %15s %15s %d %*s %79[^\n]", sort, state, mode, &pid, range) != 5)
		return;
	pid = pid > 0 ? test_inner_pid(pid) : pid;
	snprintf(line, strlen(line) + 1, "%s %s %s %d %s", sort, state, mode, pid, range);
}

/* Lines "name: value" or, as in limits, "name   value": the name ends at a colon or two blanks. */
static void add_lines(struct oracle *o, const char *path, const char *key)
{
	bool zombie = false;
	char *text = test_read(path, NULL), *line, *save;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *end = line;

		while (*end && *end != ':' && strncmp(end, "  ", 2))
			end++;
		if (*end)
			*end++ = 0;
		end += strspn(end, " \t");
		if (!strcmp(line, "tfd")) {
			char *tail = strstr(end, "pos:");

			if (tail)
				*tail = 0;
		}
		if (!strcmp(line, "lock"))
			plain_lock(end);
		if (!strncmp(line, "NS", 2) && strrchr(end, '\t'))
			end = strrchr(end, '\t') + 1;
		if (!strcmp(line, "State"))
			strcpy(end, *end == 'Z' ? "Z" : *end == 'T' ? "T" : "");
		zombie |= !strcmp(line, "State") && *end == 'Z';
		if (!zombie || of_zombie(line))
			oracle_add(o, end, "%s/%s", key, line);
	}
	free(text);
}

static void add_stat(struct oracle *o, const char *path, const char *key)
{
	static const struct {
		int field;
		const char *name;
	} kept[] = {
		{ 7, "terminal" },     { 18, "priority" },    { 19, "nice" },
		{ 20, "threads" },     { 26, "start_code" },  { 27, "end_code" },
		{ 28, "start_stack" }, { 38, "exit_signal" }, { 40, "rt_priority" },
		{ 41, "policy" },      { 45, "start_data" },  { 46, "end_data" },
		{ 47, "start_brk" },   { 48, "arg_start" },   { 49, "arg_end" },
		{ 50, "env_start" },   { 51, "env_end" },     { 52, "exit_code" },
	};
	char *text = test_read(path, NULL), *p = text ? strrchr(text, ')') : NULL, *save, *word;
	int field = 3;

	for (word = p ? strtok_r(p + 1, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save), field++)
		for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
			if (kept[i].field == field)
				oracle_add(o, word, "%s/%s", key, kept[i].name);
	free(text);
}

static char *number(long n)
{
	static char text[32];

	snprintf(text, sizeof(text), "%ld", n);
	return text;
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name) - atoi((*b)->d_name);
}

static int is_number(const struct dirent *e)
{
	return isdigit((unsigned char)e->d_name[0]);
}

static void add_threads(struct oracle *o, pid_t pid, pid_t name)
{
	struct dirent **list;
	char path[128], key[128];
	int n;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	n = scandir(path, &list, is_number, by_number);
	for (int i = 0; i < n; i++) {
		pid_t tid = atoi(list[i]->d_name), inner = test_inner_pid(tid);

#define OF_THREAD(what)                                                        \
	(snprintf(path, sizeof(path), "/proc/%d/task/%d/" what, pid, tid),     \
	 snprintf(key, sizeof(key), "%d/thread %d/" what, name, inner), path), \
		key
		add_text(o, OF_THREAD("comm"));
		add_lines(o, OF_THREAD("status"));
		add_stat(o, OF_THREAD("stat"));
		snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
		snprintf(key, sizeof(key), "%d/thread %d/timerslack", name, inner);
		add_text(o, path, key);
		oracle_add(o, number(syscall(SYS_ioprio_get, 1, tid)), "%d/thread %d/ioprio", name,
			   inner);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void add_files(struct oracle *o, pid_t pid, pid_t name)
{
	struct dirent **list;
	char path[128], key[128];
	int n;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	n = scandir(path, &list, is_number, by_number);
	for (int i = 0; i < n; i++) {
		int fd = atoi(list[i]->d_name);

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		snprintf(key, sizeof(key), "%d/fd/%d", name, fd);
		add_link(o, path, key);
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
		snprintf(key, sizeof(key), "%d/fdinfo/%d", name, fd);
		add_lines(o, path, key);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void add_namespaces(struct oracle *o, pid_t pid, pid_t name)
{
	static const char *const kinds[] = {
		"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts",
	};
	char path[128], key[128], link[128];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i]);
		len = readlink(path, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = 0;
		snprintf(key, sizeof(key), "%d/ns/%s", name, kinds[i]);
		oracle_add(o, link, "%s", key);
	}
}

static void add_process(struct oracle *o, pid_t pid, const pid_t *pids, size_t n)
{
	pid_t name = test_inner_pid(pid), parent = 0;
	char path[128], key[128];
	bool inside = false;

	test_proc_state(pid, &parent);
	for (size_t i = 0; i < n; i++)
		inside |= pids[i] == parent;
	oracle_add(o, inside ? number(test_inner_pid(parent)) : "outside", "%d/parent", name);
#define OF_TASK(what)                                         \
	(snprintf(path, sizeof(path), "/proc/%d/" what, pid), \
	 snprintf(key, sizeof(key), "%d/" what, name), path), \
		key
	add_hash(o, OF_TASK("cmdline"));
	add_hash(o, OF_TASK("environ"));
	add_hash(o, OF_TASK("auxv"));
	add_lines(o, OF_TASK("limits"));
	add_text(o, OF_TASK("oom_score_adj"));
	add_text(o, OF_TASK("coredump_filter"));
	add_text(o, OF_TASK("personality"));
	add_text(o, OF_TASK("timers"));
	add_text(o, OF_TASK("loginuid"));
	add_text(o, OF_TASK("cgroup"));
	add_link(o, OF_TASK("cwd"));
	add_link(o, OF_TASK("root"));
	add_link(o, OF_TASK("exe"));
	add_namespaces(o, pid, name);
	add_files(o, pid, name);
	add_threads(o, pid, name);
	oracle_add_maps(o, pid, name);
}

static int by_key(const void *a, const void *b)
{
	const struct oracle_line *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	return c ? c : strcmp(x->value, y->value);
}

struct oracle *oracle_take(const pid_t *pids, size_t n)
{
	struct oracle *o = calloc(1, sizeof(*o));

	for (size_t i = 0; o && i < n; i++)
		add_process(o, pids[i], pids, n);
	if (o)
		qsort(o->v, o->n, sizeof(*o->v), by_key);
	return o;
}

static size_t differ(const char *key, const char *before, const char *after, bool boxed,
		     const char *prefix)
{
	if (oracle_allowed(key, boxed))
		return 0;
	if (prefix)
		printf("%s%s: before: %s; after: %s\n", prefix, key, before, after);
	return 1;
}

#define MOST 40 /* differences that are printed */

size_t oracle_compare(const struct oracle *before, const struct oracle *after, bool boxed,
		      const char *prefix)
{
	size_t i = 0, j = 0, n = 0;

	while (i < before->n || j < after->n) {
		const struct oracle_line *b = i < before->n ? &before->v[i] : NULL;
		const struct oracle_line *a = j < after->n ? &after->v[j] : NULL;
		int c = !a ? -1 : !b ? 1 : strcmp(b->key, a->key);

		if (c == 0 && strcmp(a->value, b->value))
			n += differ(b->key, b->value, a->value, boxed, prefix);
		else if (c < 0)
			n += differ(b->key, b->value, "nothing", boxed, prefix);
		else if (c > 0)
			n += differ(a->key, "nothing", a->value, boxed, prefix);
		i += c <= 0;
		j += c >= 0;
		if (n == MOST && prefix) {
			printf("%sand maybe more\n", prefix);
			break;
		}
	}
	return n;
}

void oracle_free(struct oracle *o)
{
	for (size_t i = 0; o && i < o->n; i++) {
		free(o->v[i].key);
		free(o->v[i].value);
	}
	if (o)
		free(o->v);
	free(o);
}
