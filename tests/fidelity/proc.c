/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc tells of processes and threads, and what can be asked by their number. A row for each
 * file, a row for each field.
 */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

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
 * which is another one where the file was made anew. What belongs to an open file belongs to all
 * who have it: which of them took it is only shown. */
static void plain_lock(char *line)
{
	char sort[16], state[16], mode[16], range[80];
	int pid;

	if (sscanf(line, "%*s %15s %15s %15s %d %*s %79[^\n]", sort, state, mode, &pid, range) != 5)
		return;
	if (strcmp(sort, "POSIX"))
		pid = 0;
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

static void add_text(struct oracle *o, const char *path, const char *key)
{
	char *text = test_read(path, NULL);

	if (text)
		oracle_add(o, text, "%s", key);
	free(text);
}

static void add_last(struct oracle *o, const char *path, const char *key)
{
	char *text = test_read(path, NULL), *last = text ? strrchr(text, ' ') : NULL;

	if (last)
		oracle_add(o, last + 1, "%s", key);
	free(text);
}

static void add_hash(struct oracle *o, const char *path, const char *key)
{
	size_t len;
	char *text = test_read(path, &len);

	if (text)
		oracle_add_bytes(o, text, len, "%s", key);
	free(text);
}

static void add_link(struct oracle *o, const char *path, const char *key)
{
	char link[PATH_MAX + 32];
	ssize_t n = readlink(path, link, PATH_MAX);

	if (n < 0)
		return;
	link[n] = 0;
	oracle_plain_link(o, link);
	oracle_add(o, link, "%s", key);
}

/* Of proc(5), from the third field on. Numbers of processes are compared as status has them, what
 * is not named here are obsolete fields. */
static const char *const stat_fields[] = {
	[7] = "terminal",
	[9] = "flags",
	[10] = "minor_faults",
	[11] = "minor_of_children",
	[12] = "major_faults",
	[13] = "major_of_children",
	[14] = "user_time",
	[15] = "system_time",
	[16] = "user_time_of_children",
	[17] = "system_time_of_children",
	[18] = "priority",
	[19] = "nice",
	[20] = "threads",
	[22] = "start_time",
	[23] = "size",
	[24] = "resident",
	[26] = "start_code",
	[27] = "end_code",
	[28] = "start_stack",
	[38] = "exit_signal",
	[39] = "processor",
	[40] = "rt_priority",
	[41] = "policy",
	[42] = "delay",
	[45] = "start_data",
	[46] = "end_data",
	[47] = "start_brk",
	[48] = "arg_start",
	[49] = "arg_end",
	[50] = "env_start",
	[51] = "env_end",
	[52] = "exit_code",
};

static void add_stat(struct oracle *o, const char *path, const char *key)
{
	char *text = test_read(path, NULL), *p = text ? strrchr(text, ')') : NULL, *save, *word;
	bool zombie = p && p[1] && p[2] == 'Z';
	size_t field = 3;

	for (word = p ? strtok_r(p + 1, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save), field++)
		if (field < ARRAY_SIZE(stat_fields) && stat_fields[field] &&
		    (!zombie || field == 38 || field == 52))
			oracle_add(o, word, "%s/%s", key, stat_fields[field]);
	free(text);
}

enum form { TEXT, LAST /* word */, HASH, LINES, STAT, LINK };

struct proc_file {
	const char *name;
	enum form form;
};

static const struct proc_file of_process[] = {
	{ "cmdline", HASH },	  { "environ", HASH },	     { "auxv", HASH },
	{ "limits", LINES },	  { "oom_score_adj", TEXT }, { "coredump_filter", TEXT },
	{ "personality", TEXT },  { "timers", TEXT },	     { "cgroup", TEXT },
	{ "cwd", LINK },	  { "root", LINK },	     { "exe", LINK },
	{ "loginuid", TEXT },	  { "sessionid", TEXT },     { "autogroup", LAST },
	{ "cpuset", TEXT },	       { "uid_map", TEXT },
	{ "gid_map", TEXT },	  { "setgroups", TEXT },     { "timens_offsets", TEXT },
	{ "ns/cgroup", LINK },	  { "ns/ipc", LINK },	     { "ns/mnt", LINK },
	{ "ns/net", LINK },	  { "ns/pid", LINK },	     { "ns/pid_for_children", LINK },
	{ "ns/time", LINK },	  { "ns/time_for_children", LINK },
	{ "ns/user", LINK },	  { "ns/uts", LINK },
}, of_thread[] = {
	{ "comm", TEXT },	  { "status", LINES },	     { "stat", STAT },
	{ "attr/current", TEXT }, { "attr/exec", TEXT },     { "attr/fscreate", TEXT },
	{ "attr/keycreate", TEXT }, { "attr/sockcreate", TEXT }, { "make-it-fail", TEXT },
};

static void add_file(struct oracle *o, const struct proc_file *f, const char *dir, const char *key)
{
	static void (*const how[])(struct oracle *, const char *, const char *) = {
		[TEXT] = add_text,   [LAST] = add_last, [HASH] = add_hash,
		[LINES] = add_lines, [STAT] = add_stat, [LINK] = add_link,
	};
	char path[160], name[160];

	snprintf(path, sizeof(path), "%s/%s", dir, f->name);
	snprintf(name, sizeof(name), "%s/%s", key, f->name);
	how[f->form](o, path, name);
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name) - atoi((*b)->d_name);
}

static int is_number(const struct dirent *e)
{
	return isdigit((unsigned char)e->d_name[0]);
}

static void add_number(struct oracle *o, long n, const char *key, const char *what)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", n);
	oracle_add(o, text, "%s/%s", key, what);
}

/* Asked by number. */
static void ask_thread(struct oracle *o, pid_t tid, const char *key)
{
	struct {
		void *head;
		size_t len;
	} robust = { 0 };
	unsigned char attr[56] = { 0 }, cpus[1024];
	struct timespec slice = { 0 };
	long n;

	add_number(o, syscall(SYS_ioprio_get, 1, tid), key, "ioprio");
	if (syscall(SYS_sched_getattr, tid, attr, sizeof(attr), 0) == 0)
		oracle_add_bytes(o, attr, sizeof(attr), "%s/sched_attr", key);
	n = syscall(SYS_sched_getaffinity, tid, sizeof(cpus), cpus);
	if (n > 0)
		oracle_add_bytes(o, cpus, n, "%s/affinity", key);
	if (sched_rr_get_interval(tid, &slice) == 0)
		add_number(o, slice.tv_sec * 1000000000 + slice.tv_nsec, key, "slice");
	if (syscall(SYS_get_robust_list, tid, &robust.head, &robust.len) == 0)
		oracle_add_bytes(o, &robust, sizeof(robust), "%s/robust_list", key);
}

static void add_threads(struct oracle *o, pid_t pid, pid_t name, bool zombie)
{
	struct dirent **list;
	char path[128], key[128];
	int n;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	n = scandir(path, &list, is_number, by_number);
	for (int i = 0; i < n; i++) {
		pid_t tid = atoi(list[i]->d_name);

		snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
		snprintf(key, sizeof(key), "%d/thread %d", name, test_inner_pid(tid));
		for (size_t j = 0; j < ARRAY_SIZE(of_thread); j++)
			add_file(o, &of_thread[j], path, key);
		snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
		strncat(key, "/timerslack", sizeof(key) - strlen(key) - 1);
		if (!zombie)
			add_text(o, path, key);
		key[strlen(key) - strlen("/timerslack")] = 0;
		if (!zombie)
			ask_thread(o, tid, key);
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

void oracle_add_process(struct oracle *o, pid_t pid, const pid_t *pids, size_t n)
{
	pid_t name = test_inner_pid(pid), parent = 0;
	bool inside = false, zombie = test_proc_state(pid, &parent) == 'Z';
	char path[64], key[64], number[32];

	for (size_t i = 0; i < n; i++)
		inside |= pids[i] == parent;
	snprintf(number, sizeof(number), "%d", test_inner_pid(parent));
	oracle_add(o, inside ? number : "outside", "%d/parent", name);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	snprintf(key, sizeof(key), "%d", name);
	for (size_t i = 0; !zombie && i < ARRAY_SIZE(of_process); i++)
		add_file(o, &of_process[i], path, key);
	add_files(o, pid, name);
	oracle_add_descriptors(o, pid, name);
	add_threads(o, pid, name, zombie);
	oracle_add_maps(o, pid, name);
}
