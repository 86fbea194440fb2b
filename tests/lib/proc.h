/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes and files as tests handle them. Every wait is bounded; descendants are found by walking
 * up parents in /proc, because /proc/PID/task/TID/children is not built into every kernel.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define TEST_UID 65534 /* the ordinary user of tests that root runs */

int64_t test_now_ns(void);           /* CLOCK_MONOTONIC */
void test_sleep_ms(unsigned int ms); /* the whole of it, whatever signals come */
unsigned int test_wait_ms(void); /* how long to wait for what must happen: $CKPT_TEST_WAIT seconds,
				    10 */

/* True as soon as COND is; false after the bound. COND is evaluated about once a millisecond. */
#define EVENTUALLY(cond)                                                   \
	({                                                                 \
		int64_t end_ = test_now_ns() + test_wait_ms() * 1000000ll; \
		bool true_;                                                \
		while (!(true_ = (cond)) && test_now_ns() < end_)          \
			test_sleep_ms(1);                                  \
		true_;                                                     \
	})

bool test_exists(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The file appears with all of its text or not at all. */
bool test_write(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The whole file, NUL after it, to be freed; NULL if it cannot be read. */
char *test_read(const char *path, size_t *lenp);
/* The number that the file begins with; -1 if it cannot be read. */
long test_number(const char *path);
/* Text of a format, to be freed. */
char *test_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void test_remove_tree(const char *path);
int test_n_files(const char *path); /* in a folder; 0: it is not there */
bool test_copy(const char *from, const char *to, mode_t mode);

/* Starts ARGV in a new session with stdin /dev/null, stdout and stderr appended to OUT (NULL:
 * /dev/null), nothing else open and all signals as by default. -1 on failure. */
pid_t test_spawn(char *const argv[], const char *out, const char *cwd);
/* Waits for the child PID at most MS: its status as of wait(2), -1 after the time. */
int test_wait(pid_t pid, unsigned int ms);
/* Runs ARGV to its end: its exit status, 128 + signal, or -1 if it had to be killed after MS. */
int test_run(char *const argv[], const char *out, const char *cwd, unsigned int ms);
/* All living descendants of this process, zombies too. */
size_t test_descendants(pid_t *v, size_t room);
size_t test_descendants_of(pid_t root, pid_t *v, size_t room);
/* Kills and reaps every descendant (this process has to be a subreaper). False if one is left after
 * the bound. */
bool test_end_descendants(void);
/* State letter, parent and group of a process; 0 if it is gone. */
char test_proc_state(pid_t pid, pid_t *ppid);
/* Waits until no thread of the processes runs: one that was made a moment ago has not done yet what
 * its library does first. Not for long: some always run. */
void test_let_settle(const pid_t *pid, size_t n);
/* Innermost number of a process, which differs in a pid namespace. */
pid_t test_inner_pid(pid_t pid);
/* The child of this process that has this innermost number, or 0. */
pid_t test_child_with_inner_pid(pid_t inner);
/* The rest of the line of /proc/PID/status that starts with KEY and a colon, to be freed. */
char *test_status(pid_t pid, const char *key);

/* Where the ckpt to be tested is: $CKPT, ./ckpt, or beside the build folder of ARGV0. Exits 77 if
 * there is none. */
const char *test_find_ckpt(const char *argv0);
/* Gives up root for good: uid and gid 65534, no groups, no capabilities. */
void test_become_user(void);
/* A new folder in $TMPDIR or /tmp that everyone may write to; to be freed. */
char *test_temp_dir(void);
