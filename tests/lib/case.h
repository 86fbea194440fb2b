/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case is a program of one or more stories: setup() makes some state in a fresh process, the
 *harness takes that process through ckpt, check() looks whether the process finds everything as it
 *was. See tests/README.md.
 *
 *	static int fd;
 *	static void setup(void) { fd = eventfd(3, 0); CHECK(fd >= 0); }
 *	static void check(void) { uint64_t n; CHECK(read(fd, &n, 8) == 8); CHECK_INT(n, 3); }
 *	CASES({ "an eventfd keeps its count", setup, check })
 *
 * Setup and check run in the same process, so state is kept in static variables. While ckpt is at
 *work the main thread waits in a loop of short sleeps for a file to appear: no signal, descriptor
 *or timer is used up by the harness.
 */
#pragma once
#include "tests/lib/proc.h"

enum case_flag {
	CASE_ROOT = 1, /* as root only */
	CASE_USER = 2, /* as ordinary user only */
	CASE_ONCE = 4, /* no restore of the restored: check() cannot tell apart, or it takes long */
	CASE_STAYS = 8,   /* only dump -R: there is nothing more to learn from a restore */
	CASE_GOES = 16,   /* no dump -R */
	CASE_LOSSY = 32,  /* changes all the time: the oracle is not asked */
	CASE_INSIDE = 64, /* only of programs with the preloaded library */
	CASE_LIVE = 256, /* dump --live; not of programs with the preloaded library. $CASE_LIVE: all
			  */
	CASE_COPIES = 4096, /* dump -R reads out of copies of processes. $CASE_COPIES: all */
	CASE_LEAVES = 8192, /* what is restored is the image of a dump -R */
	CASE_RUNS = 512,  /* what the oracle would have to stop it for is not asked: it runs all the
			     time, or would notice */
	CASE_LAZY = 1024, /* restore --lazy, of a user --lazy=map. $CASE_LAZY: all, as it says */
	CASE_MAP = 2048,  /* restore --lazy=map */
	CASE_MANY = 128, /* many checkpoints one after the other where it goes on, $CKPT_MANY, 20 */
};

struct story {
	const char *name; /* a sentence that is true if it passes */
	void (*setup)(void);
	void (*check)(void);
	unsigned int flags;
	void (*between)(void);   /* by the harness, in the target's folder, between dump and restore
				  */
	unsigned int chain;      /* images that each one goes on from: pre-dumps and dumps, made
				    before it; not with the preloaded library. $CASE_CHAIN: all */
	const char *options[4];  /* further ones of dump and restore */
	const char *refused[20]; /* the dump must fail with each of these in what it prints; then
				    check() runs */
	const char *differs[4];  /* what is another after a restore, patterns as in fidelity/rules.c
				  */
	const char *not_inside;  /* why it cannot be told of a program with the preloaded library */
};

int cases_main(int argc, char **argv, const struct story *stories, size_t n);
#define CASES(...)                                                           \
	int main(int argc, char **argv)                                      \
	{                                                                    \
		static const struct story stories[] = { __VA_ARGS__ };       \
		return cases_main(argc, argv, stories, ARRAY_SIZE(stories)); \
	}

/* In setup(), check() and everything they start. The process ends with a verdict if COND is false.
 */
#define CHECK(cond)                                                        \
	do {                                                               \
		if (!(cond))                                               \
			case_fail("%s:%d: %s", __FILE__, __LINE__, #cond); \
	} while (0)
#define CHECK_INT(is, want)                                                                    \
	do {                                                                                   \
		long long is_ = (is), want_ = (want);                                          \
		if (is_ != want_)                                                              \
			case_fail("%s:%d: %s is %lld, not %lld", __FILE__, __LINE__, #is, is_, \
				  want_);                                                      \
	} while (0)
#define CHECK_TEXT(is, want)                                                                  \
	do {                                                                                  \
		const char *is_ = (is), *want_ = (want);                                      \
		if (!is_ || strcmp(is_, want_))                                               \
			case_fail("%s:%d: %s is \"%s\", not \"%s\"", __FILE__, __LINE__, #is, \
				  is_ ? is_ : "(null)", want_);                               \
	} while (0)
/* The same with the error of the last call. */
#define CHECK_CALL(call)                                                       \
	({                                                                     \
		typeof(call) r_ = (call);                                      \
		if ((long)r_ == -1)                                            \
			case_fail("%s:%d: %s: %m", __FILE__, __LINE__, #call); \
		r_;                                                            \
	})
void case_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* In setup(): the story cannot be told here. */
void case_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A child process with a setup and a check of its own (either may be NULL); returns its pid when
 * its setup is done. It stays until the harness ends it; a story may do so earlier. */
pid_t case_child(void (*setup)(void), void (*check)(void));
/* Waits until thread TID of process PID (0: this one) is inside system call NR. */
void case_blocked(pid_t pid, pid_t tid, long nr);
/* In check(): how long this process stood still since setup(), as seen by its own waiting loop, all
 * in all. */
int64_t case_gap_ns(void);
/* The folder of this run; also the parent of the working directory. */
const char *case_dir(void);
/* For the harness: */
int case_target(const char *dir, const struct story *story);
